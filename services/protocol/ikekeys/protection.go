package ikekeys

import (
	"errors"
	"fmt"
	"io"

	"sallyport.dev/sallyport/services/protocol/ikewire"
)

var (
	// ErrNotAuthentic: the message is not of who has the keys. It must change nothing.
	ErrNotAuthentic = errors.New("ikekeys: message is not authentic")
	// ErrEnvelope: the envelope was laid out for other sizes than the suite's.
	ErrEnvelope = errors.New("ikekeys: envelope of other sizes")
	// ErrExhausted: all IVs of the token are used. The IKE SA must be replaced.
	ErrExhausted = errors.New("ikekeys: no IV is left under this fencing token")
	// ErrFenced: the state is of a later worker's token than ours.
	ErrFenced = errors.New("ikekeys: a later fencing token has sealed with this key")
)

// Protection seals or opens the messages of one end of an IKE SA: the SK payload of RFC 7296
// section 3.14 and the SKF payload of RFC 7383 section 2.5. Use one for each end; only the end
// that is ours ever seals. It is not safe for concurrent use and must not be copied.
type Protection struct {
	_     noCopy
	suite Suite
	sizes ikewire.Sizes
	cover cover
	ivs   ivMaker
}

// cover is what a suite does to an envelope whose IV is there.
type cover interface {
	// seal encrypts Text in place and fills in ICV.
	seal(e ikewire.Envelope)
	// open returns the decrypted text in memory of its own, after it has verified ICV; false
	// when that is wrong.
	open(e ikewire.Envelope) (text []byte, ok bool)
}

// NewProtection takes SK_e and SK_a of one end, which it copies. The token is the caller's
// fencing token: no two processes that may seal under one key may ever have the same, and a later
// one's is higher. The IVs of counter modes begin with it, so that a failover repeats none.
// Errors: ErrSuite, transform's ErrKeyLength.
func NewProtection(s Suite, ke, ka []byte, token uint32) (*Protection, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	p := &Protection{suite: s, sizes: s.Sizes()}
	var err error
	if s.Encryption.AEAD() {
		p.cover, err = newCombined(s, ke, ka)
	} else {
		p.cover, err = newSeparate(s, ke, ka)
	}
	if err != nil {
		return nil, fmt.Errorf("ikekeys: %v: %w", s, err)
	}
	p.ivs, err = newIVMaker(s.Encryption, ke, token)
	return p, err
}

// Sizes are the lengths that envelopes for Seal and Open are laid out and cut with.
func (p *Protection) Sizes() ikewire.Sizes { return p.sizes }

// Seal encrypts an envelope of ikewire's Seal or SealFragments in place: then e.Message is ready
// to be sent. Each envelope is sealed once; a retransmission is the same bytes. Errors:
// ErrEnvelope, ErrExhausted; after one the envelope is as it was.
func (p *Protection) Seal(e ikewire.Envelope) error {
	if err := p.check(e); err != nil {
		return err
	}
	if err := p.ivs.next(e.IV); err != nil {
		return err
	}
	p.cover.seal(e)
	return nil
}

// Open verifies an envelope, decrypts it and returns what is inside without padding, in memory
// of its own: payloads for ikewire.ParsePayloads, of a fragment what Reassembly.Add takes. The
// message is as it was. Errors: ErrEnvelope, ErrNotAuthentic; ikewire.ErrLength when the message
// is authentic and its padding is longer than its text.
func (p *Protection) Open(e ikewire.Envelope) ([]byte, error) {
	if err := p.check(e); err != nil {
		return nil, err
	}
	text, ok := p.cover.open(e)
	if !ok {
		return nil, ErrNotAuthentic
	}
	return ikewire.TrimPadding(text)
}

func (p *Protection) check(e ikewire.Envelope) error {
	z := p.sizes
	if len(e.IV) != z.IV || len(e.ICV) != z.ICV || len(e.Text) < 1 || len(e.Text)%z.Block != 0 ||
		cap(e.Text) != len(e.Text)+len(e.ICV) || len(e.Message) != len(e.AAD)+len(e.IV)+cap(e.Text) {
		return fmt.Errorf("%w: IV %d, text %d, ICV %d bytes for %v", ErrEnvelope, len(e.IV), len(e.Text), len(e.ICV), p.suite)
	}
	return nil
}

// State is what must outlive the process of an end's sealing, beside the keys. It is not secret.
type State struct {
	Token   uint32 // under which Counter counts
	Counter uint32 // envelopes sealed
}

// State returns the state for Restore. A message leaves only when a state that counts it is
// kept.
func (p *Protection) State() State { return p.ivs.state }

// Restore goes on from a kept state: under the same token after its counter, under a higher one,
// which has sealed nothing yet, from the beginning. The counter never goes back. Error:
// ErrFenced when the state's token is above ours: we are the one that was replaced.
func (p *Protection) Restore(s State) error {
	switch {
	case s.Token > p.ivs.state.Token:
		return fmt.Errorf("%w: %d, ours is %d", ErrFenced, s.Token, p.ivs.state.Token)
	case s.Token == p.ivs.state.Token:
		p.ivs.state.Counter = max(p.ivs.state.Counter, s.Counter)
	}
	return nil
}

// Format implements fmt.Formatter: for every verb the suite and the state, no key.
func (p *Protection) Format(f fmt.State, _ rune) {
	io.WriteString(f, fmt.Sprintf("ikekeys.Protection{%v token=%d counter=%d [redacted]}", p.suite, p.ivs.state.Token, p.ivs.state.Counter))
}

// MarshalText implements encoding.TextMarshaler: for JSON and for slog's handlers.
func (p *Protection) MarshalText() ([]byte, error) { return fmt.Append(nil, p), nil }

// noCopy makes go vet report a copy of the struct it is in: two copies of a Protection would
// use each IV twice.
type noCopy struct{}

func (*noCopy) Lock()   {}
func (*noCopy) Unlock() {}
