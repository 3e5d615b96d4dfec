package manual

import (
	"context"

	"sallyport.dev/sallyport/agent/datapath"
)

// Share divides the datapath's events until ctx ends: those about reserved numbers go to the keeper's channel, all
// others to the other one. A slow reader of one does not keep events from the other.
func Share(ctx context.Context, events <-chan datapath.Event, keeper, others chan<- datapath.Event) error {
	var numbers, rest []datapath.Event
	for {
		toKeeper, number := head(keeper, numbers)
		toOthers, other := head(others, rest)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e := <-events:
			if e.Kind == datapath.CeilingNear {
				numbers = append(numbers, e)
			} else {
				rest = append(rest, e)
			}
		case toKeeper <- number:
			numbers = numbers[1:]
		case toOthers <- other:
			rest = rest[1:]
		}
	}
}

// head is the channel and the first event for it; nil, on which nothing is sent, while there is none.
func head(c chan<- datapath.Event, queue []datapath.Event) (chan<- datapath.Event, datapath.Event) {
	if len(queue) == 0 {
		return nil, datapath.Event{}
	}
	return c, queue[0]
}
