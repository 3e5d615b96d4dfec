package ike

import (
	"bytes"
	"slices"
)

// work runs the actions one by one, as the caller's contract says.
func (e *end) work() {
	e.l.t.Helper()
	e.restore()
	for e.m != nil {
		all := e.m.Actions()
		if len(all) == 0 {
			if e.m.Gone() {
				e.m = nil
			}
			return
		}
		if e.crash() {
			continue
		}
		var command Command
		closed := e.run(all[0], &command)
		e.m.Done(1)
		if closed && e.m.Gone() {
			e.m = nil
			return
		}
		if command != nil {
			if err := e.m.HandleCommand(e.l.now, command); err != nil {
				e.l.fail("%s: %T: %v", e.name, command, err)
			}
		}
		e.restore()
	}
}

// crash ends the machine's process before its next action, if that is the one, and starts a new one with what Persist
// stored last.
func (e *end) crash() bool {
	if e.persisted == nil {
		return false
	}
	e.ran++
	if e.ran != e.crashAt {
		return false
	}
	e.l.logf("%s CRASHES before %T", e.name, e.m.Actions()[0])
	e.reload()
	return true
}

// restart is a crash between two actions.
func (e *end) restart() {
	e.l.logf("%s CRASHES", e.name)
	e.reload()
	e.work()
}

// reload goes on with what Persist stored last, under the next fencing token.
func (e *end) reload() {
	e.cfg.Token++
	m, err := Restore(e.cfg, ParseSnapshot(e.persisted))
	if err != nil {
		e.l.fail("%s: %v", e.name, err)
	}
	e.m = m
}

func (e *end) restore() {
	if !e.restoring || e.m == nil {
		return
	}
	b := e.m.Snapshot().Bytes()
	m, err := Restore(e.cfg, ParseSnapshot(b))
	if err != nil {
		e.l.fail("%s: %v", e.name, err)
	}
	m.Pending = slices.Clone(e.m.Pending) // questions whose answer is on its way are not asked again
	if after := m.Snapshot().Bytes(); !bytes.Equal(b, after) {
		e.l.fail("%s: restored differs:\n%s\n%s", e.name, b, after)
	}
	e.m = m
}

func (e *end) run(a Action, c *Command) (closed bool) {
	switch a := a.(type) {
	case Note:
		e.notes = append(e.notes, a)
		e.l.logf("%s · %s %s %s %s", e.name, a.Exchange, a.Event, a.Reason, a.Detail)
		return false
	case Send:
		for _, d := range a.Datagrams {
			e.l.send(e, a.Path, d)
		}
	case Persist:
		e.persisted = e.m.Snapshot().Bytes()
	case InstallInbound:
		e.in[a.Child.Inbound] = a
		e.l.logf("%s ⊕ inbound %08x", e.name, a.Child.Inbound)
	case InstallOutbound:
		e.out[a.Child.Outbound] = a
		e.newest = a.Child.Outbound
		e.l.logf("%s ⊕ outbound %08x", e.name, a.Child.Outbound)
	case RemoveChild:
		e.remove(a)
	case VerifyPeer:
		*c = e.verify(a)
	case SignAUTH:
		*c = e.sign(a)
	case FindPPK:
		*c = PPKFound{ID: a.ID, Key: e.ppk[string(a.PPK.Data)]}
	case AssignAddresses:
		*c = e.assign(a)
	case Established:
		e.established = true
		e.l.logf("%s: established with %s", e.name, a.RemoteID)
	case Closed:
		e.closed, closed = &a, true
		e.l.logf("%s: closed: %s", e.name, a.Reason)
	}
	e.actions = append(e.actions, a)
	return closed
}

func (e *end) remove(a RemoveChild) {
	e.l.logf("%s ⊖ in %08x out %08x: %s", e.name, a.Inbound, a.Outbound, a.Reason)
	delete(e.in, a.Inbound)
	delete(e.out, a.Outbound)
	e.drained[a.Inbound] = a.Drain
	if e.newest == a.Outbound {
		e.newest = 0
		for spi := range e.out {
			e.newest = max(e.newest, spi)
		}
	}
}
