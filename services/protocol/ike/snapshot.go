package ike

import (
	"encoding/json"
	"fmt"
	"io"
)

// Snapshot is all that a machine is. It holds every key: seal Bytes before they go anywhere.
type Snapshot struct{ bytes []byte }

// Bytes returns the encoding that ParseSnapshot reads. It is secret.
func (s Snapshot) Bytes() []byte { return s.bytes }

// ParseSnapshot wraps what Bytes returned; Restore checks it.
func ParseSnapshot(b []byte) Snapshot { return Snapshot{b} }

// Format implements fmt.Formatter for every verb.
func (Snapshot) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// MarshalText implements encoding.TextMarshaler: for JSON and for slog's handlers.
func (Snapshot) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// snapshotVersion changes when an older program's snapshot would be misread.
const snapshotVersion = 1

// encoded is the form of a snapshot. What redacts itself is kept apart.
type encoded struct {
	Version       int
	State         *state
	PPK           key
	Pending, Open []encodedAction
}

// Snapshot returns the machine as it is, with the actions that are not yet done.
func (m *Machine) Snapshot() Snapshot {
	e := encoded{Version: snapshotVersion, State: &m.state, PPK: key(m.Policy.PPK.Key)}
	for _, a := range m.Pending {
		e.Pending = append(e.Pending, encodeAction(a))
	}
	for _, a := range m.Open {
		e.Open = append(e.Open, encodeAction(a))
	}
	b, err := json.Marshal(e)
	if err != nil {
		panic(fmt.Sprintf("ike: %v", err)) // every field has an encoding
	}
	return Snapshot{b}
}

// Restore makes a machine of a snapshot. cfg's Policy is not used. Questions that have no answer yet are asked again.
// Errors: ErrSnapshot, ErrConfig.
func Restore(cfg Config, s Snapshot) (*Machine, error) {
	var e encoded
	if err := json.Unmarshal(s.bytes, &e); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	if e.Version != snapshotVersion || e.State == nil {
		return nil, fmt.Errorf("%w: version %d, this is %d", ErrSnapshot, e.Version, snapshotVersion)
	}
	m := &Machine{cfg: cfg, state: *e.State}
	m.Policy.PPK.Key = Secret(e.PPK)
	if err := m.check(); err != nil {
		return nil, err
	}
	if m.Phase != closed && len(m.SAs) == 0 {
		return nil, fmt.Errorf("%w: no IKE SA", ErrSnapshot)
	}
	var err error
	if m.Pending, err = decodeActions(e.Pending); err != nil {
		return nil, err
	}
	if m.Open, err = decodeActions(e.Open); err != nil {
		return nil, err
	}
	m.askAgain()
	return m, nil
}

func (m *Machine) askAgain() {
	queued := map[QuestionID]bool{}
	for _, a := range m.Pending {
		queued[questionID(a)] = true
	}
	for _, a := range m.Open {
		if !queued[questionID(a)] {
			m.Pending = append(m.Pending, a)
		}
	}
}
