package ike

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net/netip"

	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// end is one end of a lab: a machine, its caller, and the agent that holds its children.
type end struct {
	l         *lab
	name      string
	addr      netip.Addr
	port      uint16
	nat       netip.Addr // the address that the other end sees
	natPorts  uint16     // added to ports by the NAT
	m         *Machine
	cfg       Config
	peer      *end
	restoring bool
	rand      *rand.ChaCha8

	psk         string
	decide      func(VerifyPeer) PeerVerified // nil: by the key
	assign      func(AssignAddresses) AddressesAssigned
	ppk         map[string]Secret
	established bool
	closed      *Closed
	in          map[uint32]InstallInbound
	out         map[uint32]InstallOutbound
	newest      uint32 // SPI of the outbound half installed last and still there
	drained     map[uint32]bool
	lost        int // protected packets that came for no SA
	got         int
	notes       []Note
	actions     []Action // all that were run, but notes
	rejections  []Reason
	spi         uint32
	persisted   []byte
	crashAt     int // number of the action, of those since something is stored, before which the end crashes; 0: never
	ran         int
}

func newEnd(l *lab, name, at string, seed uint64, p Policy, restoring bool) *end {
	ap := netip.MustParseAddrPort(at)
	e := &end{l: l, name: name, addr: ap.Addr(), port: ap.Port(), restoring: restoring, rand: seeded(seed), psk: "secret",
		in: map[uint32]InstallInbound{}, out: map[uint32]InstallOutbound{}, drained: map[uint32]bool{}}
	e.spi = uint32(name[0])<<24 + 0x1000
	e.cfg = Config{Random: e.rand, Token: 7, Policy: p,
		NewIKESPI: func() (s ikewire.IKESPI, err error) {
			_, err = e.rand.Read(s[:])
			return s, err
		},
		NewChildSPI: func() (uint32, error) { e.spi++; return e.spi, nil },
	}
	return e
}

func (e *end) path() Path {
	to := e.peer.addr
	if e.peer.nat.IsValid() {
		to = e.peer.nat
	}
	return Path{Local: netip.AddrPortFrom(e.addr, e.port), Remote: netip.AddrPortFrom(to, e.peer.port)}
}

func (e *end) initiate() {
	e.l.t.Helper()
	m, err := Initiate(e.l.now, e.cfg, e.path())
	if err != nil {
		e.l.fail("%s: %v", e.name, err)
	}
	e.m = m
	e.work()
}

func (e *end) receive(p Path, datagram []byte) {
	e.l.t.Helper()
	if e.m == nil {
		e.respond(p, datagram)
		return
	}
	before := e.m.Snapshot().Bytes()
	err := e.m.HandlePacket(e.l.now, p, datagram)
	e.check(err, before)
	e.work()
}

// check fails on an error that is not a rejection, and on a rejection that has changed something.
func (e *end) check(err error, before []byte) {
	e.l.t.Helper()
	if err == nil || errors.Is(err, ErrClosed) {
		return
	}
	r, ok := errors.AsType[*Rejection](err)
	if !ok {
		e.l.fail("%s: %v", e.name, err)
	}
	e.l.logf("%s ✗ %v", e.name, err)
	e.rejections = append(e.rejections, r.Reason)
	if after := e.m.Snapshot().Bytes(); !bytes.Equal(before, after) {
		e.l.fail("%s: rejected and changed: %v\n%s\n%s", e.name, err, before, after)
	}
}

func (e *end) respond(p Path, datagram []byte) {
	e.l.t.Helper()
	if e.closed != nil {
		return
	}
	m, reply, err := Respond(e.l.now, e.cfg, p, datagram)
	if reply != nil {
		e.l.send(e, p, reply)
	}
	if err != nil {
		r, ok := errors.AsType[*Rejection](err)
		if !ok {
			e.l.fail("%s: %v", e.name, err)
		}
		e.l.logf("%s ✗ %v", e.name, err)
		e.rejections = append(e.rejections, r.Reason)
		return
	}
	e.m = m
	e.work()
}

func (e *end) timeout() {
	e.l.t.Helper()
	if err := e.m.HandleTimeout(e.l.now); err != nil {
		e.l.fail("%s: %v", e.name, err)
	}
	e.work()
}

// command gives a command that must succeed.
func (e *end) command(c Command) {
	e.l.t.Helper()
	e.l.logf("%s: %T", e.name, c)
	if err := e.m.HandleCommand(e.l.now, c); err != nil {
		e.l.fail("%s: %T: %v", e.name, c, err)
	}
	e.work()
}

// ping sends a protected packet with the newest outbound half.
func (e *end) ping() {
	if e.newest != 0 {
		e.l.fly(packet{from: e, to: e.peer, spi: e.newest}, latency)
	}
}

// protected receives a child's packet, and tells the machine that its inbound half is in use.
func (e *end) protected(spi uint32) {
	in, ok := e.in[spi]
	if !ok && !e.drained[spi] {
		e.lost++
		e.l.logf("%s: a packet for %08x is lost", e.name, spi)
		return
	}
	e.got++
	if ok && e.m != nil && e.m.byID(in.Child.ID) != nil && e.m.Phase == established {
		if err := e.m.HandleCommand(e.l.now, InboundUsed{ID: in.Child.ID}); err != nil {
			e.l.fail("%s: %v", e.name, err)
		}
		e.work()
	}
}
