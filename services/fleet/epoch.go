package fleet

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	"sallyport.dev/sallyport/services/fault"
	"sallyport.dev/sallyport/services/protocol/plan"
)

const (
	// Three epochs of one host in ten minutes: two machines share its key, or its agent crashes.
	epochsKept      = 3
	duplicateWithin = 10 * time.Minute
	// alternationPause is how long an epoch that comes back waits: two agents with one key would
	// otherwise throw each other out without end, and every time the whole host is keyed anew.
	alternationPause = 30 * time.Second
	// crowdedPause is how long a further epoch waits once there were too many: an agent that crashes in
	// a circle, or a hostile one, must not make the fleet do nothing but key it.
	crowdedPause = 5 * time.Second
)

// Reasons for agents (google.rpc.ErrorInfo).
const (
	ReasonSuperseded = "STREAM_SUPERSEDED"
	ReasonDuplicate  = "DUPLICATE_IDENTITY"
	ReasonTooSoon    = "EPOCH_TOO_SOON"
	ReasonRemoved    = "HOST_REMOVED"
	ReasonBehind     = "STORE_BEHIND"
)

// admission is an epoch record that admits a stream.
type admission struct {
	record *controllerv1.Epoch
	// begun is true when the stream begins a new epoch.
	begun bool
	// duplicate is true when there were too many epochs lately, or one came back.
	duplicate bool
}

// admit decides about a stream. old is the record as it is, nil when there is none.
func admit(old *controllerv1.Epoch, host plan.UID, epoch plan.Epoch, stream uint64, now time.Time) (admission, error) {
	if old == nil || !bytes.Equal(old.GetHostUid(), host[:]) {
		old = &controllerv1.Epoch{} // another host of that name: none of its business
	}
	next := &controllerv1.Epoch{
		HostUid: host[:], Epoch: epoch[:], Stream: stream,
		BeginTimes: old.GetBeginTimes(), PastEpochs: old.GetPastEpochs(),
	}
	if bytes.Equal(old.GetEpoch(), epoch[:]) {
		if stream <= old.GetStream() {
			return admission{}, fault.Newf(fault.FailedPrecondition,
				"stream %d of this epoch is not newer than stream %d", stream, old.GetStream()).WithReason(ReasonSuperseded)
		}
		return admission{record: next, duplicate: crowded(next, now)}, nil
	}
	back := slices.ContainsFunc(old.GetPastEpochs(), func(past []byte) bool { return bytes.Equal(past, epoch[:]) })
	if since := sinceBegin(old, now); back && since < alternationPause {
		return admission{}, fault.Newf(fault.FailedPrecondition,
			"another agent with this host's key has connected %v ago; this one may come back in %v: stop one of them",
			since.Round(time.Second), (alternationPause - since).Round(time.Second)).WithReason(ReasonDuplicate)
	}
	if since := sinceBegin(old, now); crowded(old, now) && since < crowdedPause {
		return admission{}, fault.Newf(fault.Exhausted, "the agent has begun %d epochs in a short time; the next one may begin in %v",
			epochsKept, (crowdedPause - since).Round(time.Second)).WithReason(ReasonTooSoon)
	}
	next.BeginTimes = append(slices.Clone(next.BeginTimes), timestamppb.New(now))
	next.BeginTimes = next.BeginTimes[max(0, len(next.BeginTimes)-epochsKept):]
	if len(old.GetEpoch()) > 0 {
		next.PastEpochs = slices.DeleteFunc(slices.Clone(next.PastEpochs), func(past []byte) bool { return bytes.Equal(past, epoch[:]) })
		next.PastEpochs = append(next.PastEpochs, old.GetEpoch())
		next.PastEpochs = next.PastEpochs[max(0, len(next.PastEpochs)-epochsKept):]
	}
	return admission{record: next, begun: true, duplicate: back || crowded(next, now)}, nil
}

// sinceBegin is the age of the present epoch. A clock that went back makes it 0.
func sinceBegin(e *controllerv1.Epoch, now time.Time) time.Duration {
	times := e.GetBeginTimes()
	if len(times) == 0 {
		return duplicateWithin
	}
	return max(0, now.Sub(times[len(times)-1].AsTime()))
}

// crowded says whether as many epochs as are kept began within duplicateWithin.
func crowded(e *controllerv1.Epoch, now time.Time) bool {
	times := e.GetBeginTimes()
	return len(times) == epochsKept && now.Sub(times[0].AsTime()) < duplicateWithin
}

func duplicateMessage(e *controllerv1.Epoch) string {
	return fmt.Sprintf("the agent began %d epochs within %v: it crashes again and again, or two machines share this host's key; "+
		"find the other one, or give this host a new key with a join token bound to it", len(e.GetBeginTimes()), duplicateWithin)
}
