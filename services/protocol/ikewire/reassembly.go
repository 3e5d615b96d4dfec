package ikewire

import "fmt"

// Reassembly collects the decrypted fragments of one message, RFC 7383 section 2.6. The
// zero value is ready. Only fragments whose ICV was right may be added: what an attacker
// can add takes memory. It holds at most MaxFragments parts and MaxMessage bytes.
type Reassembly struct {
	Next  PayloadType // of fragment 1, once it is there
	Total uint16      // fragments that there are; 0 before the first
	Parts [][]byte    // by number less 1; nil: not yet there
	Bytes int         // in Parts
	Count int         // parts that are there
}

// Add adds the text of a fragment, without padding, and keeps a copy. When the message
// is whole it returns the payloads inside and their first type, to be given to
// ParsePayloads, and done. A fragment that is there already, or is of a message cut into
// fewer fragments than the last, changes nothing; one of a message cut into more starts
// anew. Errors: ErrValue for what is not a fragment, ErrTooLong; after an error nothing
// has changed.
func (r *Reassembly) Add(e Envelope, text []byte) (inside []byte, next PayloadType, done bool, err error) {
	if err := (SKF{Next: e.Next, Number: e.Number, Total: e.Total, Data: []byte{0}}).check(); err != nil {
		return nil, 0, false, fmt.Errorf("ikewire: %w", err)
	}
	if e.Total < r.Total {
		return nil, 0, false, nil
	}
	to := *r
	if e.Total > r.Total {
		to = Reassembly{Total: e.Total, Parts: make([][]byte, e.Total)}
	}
	if to.Parts[e.Number-1] != nil {
		return nil, 0, false, nil
	}
	if to.Bytes+len(text) > MaxMessage {
		return nil, 0, false, fmt.Errorf("ikewire: %d bytes of fragments: %w", to.Bytes+len(text), ErrTooLong)
	}
	to.Parts[e.Number-1] = append([]byte{}, text...)
	to.Bytes += len(text)
	to.Count++
	if e.Number == 1 {
		to.Next = e.Next
	}
	*r = to
	if to.Count < int(to.Total) {
		return nil, 0, false, nil
	}
	inside = make([]byte, 0, to.Bytes)
	for _, part := range to.Parts {
		inside = append(inside, part...)
	}
	return inside, to.Next, true, nil
}
