package keying

import (
	"crypto/rand"
	"errors"
	"net/netip"
	"time"

	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/protocol/ike"
	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// remote is the peer: a machine of its own behind the agent's network.
type remote struct {
	f         *fixture
	agent     *agent
	machine   *ike.Machine
	secret    string
	opens     []byte // key of its newest inbound half
	seals     []byte // and of its outbound one
	sent      [][]byte
	installed map[uint64]bool
	removed   int
	up        bool
	closed    *ike.Closed
}

// remotePolicy is the mirror of the peer's spec.
func remotePolicy() ike.Policy {
	s := &operatorv1.PeerSpec{Children: []*operatorv1.PeerChild{{
		Name: "net", Local: []string{"10.2.0.0/16"}, Remote: []string{"10.1.0.0/16"}, Proposals: []string{"aes256gcm16-x25519-noesn"},
	}}, Proposals: []string{"aes256gcm16-prfsha256-x25519"}, Remote: &operatorv1.PeerAuthentication{Id: gateway.String()}}
	r := &reign{config: Config{Authenticator: PSK{}}}
	p, err := r.policy(Candidate{Spec: s}, "", office)
	if err != nil {
		panic(err)
	}
	return p
}

func (f *fixture) remote() *remote {
	return &remote{f: f, agent: f.agent, secret: testSecret, installed: make(map[uint64]bool)}
}

func (r *remote) config() ike.Config {
	return ike.Config{
		Random: rand.Reader, Token: 1, Policy: remotePolicy(),
		NewIKESPI: func() (s ikewire.IKESPI, err error) { rand.Read(s[:]); s[0] |= 1; return s, nil },
		NewChildSPI: func() (uint32, error) {
			var b [3]byte
			rand.Read(b[:])
			return 0xc0000000 | uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2]), nil
		},
	}
}

// call begins, and until runs the machine until something holds.
func (r *remote) call() {
	r.f.t.Helper()
	var err error
	path := ike.Path{Local: netip.AddrPortFrom(office, 500), Remote: netip.AddrPortFrom(gateway, 500)}
	r.machine, err = ike.Initiate(time.Now(), r.config(), path)
	must(r.f.t, err)
	r.act()
}

// until runs the machine until ok holds.
func (r *remote) until(what string, ok func() bool) {
	r.f.t.Helper()
	end := time.NewTimer(patience)
	defer end.Stop()
	for !ok() {
		tick := time.NewTimer(20 * time.Millisecond)
		select {
		case m := <-r.agent.down:
			r.take(m.GetDatagram())
		case <-tick.C:
			if at, some := r.deadline(); some && !time.Now().Before(at) {
				must(r.f.t, r.machine.HandleTimeout(time.Now()))
				r.act()
			}
		case <-end.C:
			r.f.t.Fatalf("waited in vain: %s", what)
		}
		tick.Stop()
	}
}

func (r *remote) deadline() (time.Time, bool) {
	if r.machine == nil {
		return time.Time{}, false
	}
	return r.machine.Deadline()
}

// take is a datagram that has come from the controller.
func (r *remote) take(d *fleetv1.IKEDatagram) {
	at := pathOf(d)
	path := ike.Path{Local: at.Remote, Remote: at.Local}
	if r.machine == nil {
		m, _, err := ike.Respond(time.Now(), r.config(), path, d.GetMessage())
		must(r.f.t, err)
		r.machine = m
	} else if err := r.machine.HandlePacket(time.Now(), path, d.GetMessage()); err != nil {
		if _, rejected := errors.AsType[*ike.Rejection](err); !rejected && !errors.Is(err, ike.ErrClosed) {
			r.f.t.Error(err)
		}
	}
	r.act()
}

// command gives the machine an order.
func (r *remote) command(c ike.Command) {
	r.f.t.Helper()
	must(r.f.t, r.machine.HandleCommand(time.Now(), c))
	r.act()
}

func (r *remote) act() {
	for actions := r.machine.Actions(); len(actions) > 0; actions = r.machine.Actions() {
		r.do(actions[0])
		r.machine.Done(1)
	}
}

func (r *remote) do(action ike.Action) {
	psk := func(prf uint16, octets []byte) []byte {
		data, err := proveWith([]byte(r.secret), prf, octets)
		must(r.f.t, err)
		return data
	}
	switch x := action.(type) {
	case ike.Send:
		for _, d := range x.Datagrams {
			r.send(x.Path, d)
		}
	case ike.InstallInbound:
		r.installed[x.Child.ID], r.opens = true, x.Keymat
	case ike.InstallOutbound:
		r.seals = x.Keymat
	case ike.RemoveChild:
		delete(r.installed, x.ID)
		r.removed++
	case ike.VerifyPeer:
		ok := string(psk(x.PRF, x.SignedOctets)) == string(x.AUTH.Data)
		r.later(ike.PeerVerified{ID: x.ID, Accepted: ok})
	case ike.SignAUTH:
		r.later(ike.AUTHSigned{ID: x.ID, AUTH: ikewire.AUTH{Method: ikewire.AuthSharedKey, Data: psk(x.PRF, x.SignedOctets)}})
	case ike.Established:
		r.up = true
	case ike.Closed:
		r.closed = &x
	}
}

// later gives an answer: the machine allows it within the step that asked.
func (r *remote) later(c ike.Command) { must(r.f.t, r.machine.HandleCommand(time.Now(), c)) }

// send hands a datagram to the controller.
func (r *remote) send(p ike.Path, d []byte) {
	r.sent = append(r.sent, d)
	r.agent.up <- &fleetv1.RelayIKERequest{Message: &fleetv1.RelayIKERequest_Datagram{Datagram: &fleetv1.IKEDatagram{
		LocalAddress: p.Remote.Addr().AsSlice(), LocalPort: uint32(p.Remote.Port()),
		RemoteAddress: p.Local.Addr().AsSlice(), RemotePort: uint32(p.Local.Port()), Message: d,
	}}}
}
