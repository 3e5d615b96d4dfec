package relay

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/sallyport/agent/datagram"
	"sallyport.dev/sallyport/services/protocol/ike"
	"sallyport.dev/sallyport/services/protocol/ikewire"
)

var (
	here  = netip.MustParseAddr("192.0.2.1")
	there = netip.MustParseAddrPort("198.51.100.7:500")
)

// wire is a socket that keeps what it sends.
type wire struct{ sent []datagram.Packet }

func (w *wire) Send(ps []datagram.Packet) (int, error) {
	w.sent = append(w.sent, ps...)
	return len(ps), nil
}

func message(t *testing.T, h ikewire.Header) []byte {
	t.Helper()
	m, err := (&ikewire.Message{Header: h}).Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Messages of a peer that is the initiator: its SPI is 1…, ours 2….
func beginning(t *testing.T) []byte {
	return message(t, ikewire.Header{InitiatorSPI: ikewire.IKESPI{1}, Exchange: ikewire.IKESAInit, Flags: ikewire.FlagInitiator})
}

func request(t *testing.T, exchange ikewire.ExchangeType) []byte {
	return message(t, ikewire.Header{
		InitiatorSPI: ikewire.IKESPI{1}, ResponderSPI: ikewire.IKESPI{2}, Exchange: exchange, Flags: ikewire.FlagInitiator, MessageID: 1,
	})
}

func answer(t *testing.T) []byte {
	return message(t, ikewire.Header{
		InitiatorSPI: ikewire.IKESPI{1}, ResponderSPI: ikewire.IKESPI{2}, Exchange: ikewire.Informational, Flags: ikewire.FlagResponse, MessageID: 1,
	})
}

func start() (*Relay, *wire, *wire) {
	esp, plain := &wire{}, &wire{}
	r := New(Config{ESPPort: 4500, ESP: Sockets{IPv4: esp}, IKE: Sockets{IPv4: plain}})
	r.Attach(true)
	return r, esp, plain
}

func take(r *Relay, from netip.AddrPort, port uint16, data []byte) {
	r.Take(&datagram.Packet{Data: data, Remote: from, Local: here}, port)
}

func next(t *testing.T, r *Relay) Datagram {
	t.Helper()
	d, err := r.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestMarkerIsOfThePort(t *testing.T) {
	r, esp, plain := start()
	m := beginning(t)
	take(r, there, 500, m)
	take(r, there, 4500, append(make([]byte, 4), m...))
	for _, port := range []uint16{500, 4500} {
		d := next(t, r)
		if d.Port != port || !bytes.Equal(d.Message, m) || d.Remote != there || d.Local != here {
			t.Errorf("port %d: %+v", port, d)
		}
		if err := r.Send(d); err != nil {
			t.Error(err)
		}
	}
	if len(plain.sent) != 1 || !bytes.Equal(plain.sent[0].Data, m) || plain.sent[0].Remote != there || plain.sent[0].Local != here {
		t.Errorf("on port 500: %+v", plain.sent)
	}
	if len(esp.sent) != 1 || !bytes.Equal(esp.sent[0].Data, append(make([]byte, 4), m...)) {
		t.Errorf("on port 4500: %+v", esp.sent)
	}
}

func TestWhatIsNotIKEIsDropped(t *testing.T) {
	r, _, _ := start()
	m := beginning(t)
	for n := range m {
		take(r, there, 500, m[:n])
	}
	take(r, there, 500, append(bytes.Clone(m), 0))
	take(r, there, 4500, []byte{0, 0})
	take(r, netip.AddrPortFrom(there.Addr(), 0), 500, m)
	noSPI := bytes.Clone(m)
	clear(noSPI[:8])
	take(r, there, 500, noSPI)
	response := message(t, ikewire.Header{InitiatorSPI: ikewire.IKESPI{1}, Exchange: ikewire.IKEAuth, Flags: ikewire.FlagResponse})
	take(r, there, 500, response)
	if c := r.Counters(); c.Taken != 0 || c.Malformed != uint64(len(m)+5) {
		t.Errorf("%+v", c)
	}
}

// TestAnswersWithoutSPI: what a responder answers before it keeps any state.
func TestAnswersWithoutSPI(t *testing.T) {
	r, _, _ := start()
	cookie := message(t, ikewire.Header{InitiatorSPI: ikewire.IKESPI{1}, Exchange: ikewire.IKESAInit, Flags: ikewire.FlagResponse})
	take(r, there, 500, cookie)
	if d := next(t, r); !bytes.Equal(d.Message, cookie) {
		t.Errorf("%x", d.Message)
	}
}

func TestEstablishedGoesFirst(t *testing.T) {
	r, _, _ := start()
	if err := r.Send(Datagram{Port: 500, Remote: there, Message: answer(t)}); err != nil { // now SPI 2 is known
		t.Fatal(err)
	}
	stranger := message(t, ikewire.Header{InitiatorSPI: ikewire.IKESPI{3}, ResponderSPI: ikewire.IKESPI{4}, Exchange: ikewire.IKEAuth, Flags: ikewire.FlagInitiator})
	first := request(t, ikewire.Informational)
	for _, m := range [][]byte{beginning(t), stranger, first} {
		take(r, there, 500, m)
	}
	for i, want := range [][]byte{first, stranger, beginning(t)} {
		if d := next(t, r); !bytes.Equal(d.Message, want) {
			t.Errorf("datagram %d is %x", i, d.Message)
		}
	}
}

func TestOneSourceIsLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _, _ := start()
		if err := r.Send(Datagram{Port: 500, Remote: there, Message: answer(t)}); err != nil {
			t.Fatal(err)
		}
		for range 3 * burst {
			take(r, there, 500, beginning(t))
		}
		if c := r.Counters(); c.Taken != burst || c.Limited != 2*burst {
			t.Errorf("%+v", c)
		}
		take(r, there, 500, request(t, ikewire.Informational)) // one that is known
		take(r, netip.MustParseAddrPort("198.51.100.8:500"), 500, beginning(t))
		if c := r.Counters(); c.Taken != burst+2 {
			t.Errorf("others are limited as well: %+v", c)
		}
		time.Sleep(time.Second)
		for range 2 * perSecond {
			take(r, there, 500, beginning(t))
		}
		if c := r.Counters(); c.Taken != burst+2+perSecond {
			t.Errorf("after a second: %+v", c)
		}
	})
}

// hello is the first message of a peer whose source is there, with the cookie that a guard wants, or none.
func hello(t *testing.T, with *ike.CookieSecret) []byte {
	t.Helper()
	spi, nonce := ikewire.IKESPI{1}, bytes.Repeat([]byte{7}, 32)
	m := &ikewire.Message{Header: ikewire.Header{InitiatorSPI: spi, Exchange: ikewire.IKESAInit, Flags: ikewire.FlagInitiator}}
	if with != nil {
		m.Payloads = append(m.Payloads, ikewire.NewCookie(with.Make(there, spi, nonce)))
	}
	m.Payloads = append(m.Payloads, ikewire.Nonce{Data: nonce})
	b, err := m.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestGuardDemandsCookies(t *testing.T) {
	r, _, plain := start()
	now, last := ike.CookieSecret{Version: 2, Key: bytes.Repeat([]byte{2}, 32)}, ike.CookieSecret{Version: 1, Key: bytes.Repeat([]byte{1}, 32)}
	stranger := ike.CookieSecret{Version: 2, Key: bytes.Repeat([]byte{9}, 32)}
	r.SetGuard(Guard{Demanded: true, Now: now, Last: last})
	for _, bad := range []*ike.CookieSecret{nil, &stranger} {
		take(r, there, 500, hello(t, bad))
	}
	if len(plain.sent) != 2 || r.Counters().Taken != 0 || r.Counters().Demanded != 2 {
		t.Fatalf("%d answers, %+v", len(plain.sent), r.Counters())
	}
	for _, p := range plain.sent {
		m, err := ikewire.Parse(p.Data)
		if err != nil || len(m.Payloads) != 1 || len(p.Data) >= len(hello(t, nil))+32 {
			t.Errorf("answer %x: %v", p.Data, err)
		}
	}
	for _, good := range []*ike.CookieSecret{&now, &last} {
		take(r, there, 500, hello(t, good))
	}
	take(r, there, 500, request(t, ikewire.IKEAuth)) // no first message
	if c := r.Counters(); c.Taken != 3 || len(plain.sent) != 2 {
		t.Errorf("%+v", c)
	}
	r.Attach(false)
	take(r, there, 500, hello(t, nil))
	if len(plain.sent) != 2 {
		t.Error("answered without a controller")
	}
}

func TestMemoryIsBounded(t *testing.T) {
	r, _, _ := start()
	a := netip.MustParseAddr("10.0.0.1")
	for range 2*maxSources + 1 {
		take(r, netip.AddrPortFrom(a, 500), 500, beginning(t))
		a = a.Next()
	}
	if c := r.Counters(); int(c.Taken) != depth(initial) || c.Full == 0 {
		t.Errorf("%+v", c)
	}
	if n := len(r.limiter.sources); n > maxSources {
		t.Errorf("%d sources are counted", n)
	}
	var k known
	for i := range 3 * maxKnown {
		k.add(ikewire.IKESPI{byte(i >> 16), byte(i >> 8), byte(i), 1})
	}
	if n := len(k.newer) + len(k.older); n > 2*maxKnown {
		t.Errorf("%d SPIs are remembered", n)
	}
}

func TestNothingWaitsForAnAbsentController(t *testing.T) {
	r, esp, plain := start()
	take(r, there, 500, beginning(t))
	r.Attach(false)
	take(r, there, 500, beginning(t))
	r.Attach(true)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if d, err := r.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%+v waited", d)
	}
	if c := r.Counters(); c.Away != 1 || len(esp.sent)+len(plain.sent) != 0 {
		t.Errorf("%+v", c)
	}
}

func TestSendRefuses(t *testing.T) {
	r, _, _ := start()
	if err := r.Send(Datagram{Port: 500, Remote: there, Message: []byte("no IKE")}); !errors.Is(err, ErrMessage) {
		t.Error(err)
	}
	for _, d := range []Datagram{{Port: 501, Remote: there}, {Port: 500, Remote: netip.MustParseAddrPort("[2001:db8::1]:500")}} {
		d.Message = answer(t)
		if err := r.Send(d); !errors.Is(err, ErrPort) {
			t.Errorf("%+v: %v", d, err)
		}
	}
}

// TestUnauthenticatedIsNotEstablished: what answers an IKE_AUTH may refuse it, so its SPI opens no lane around the limit.
func TestUnauthenticatedIsNotEstablished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _, _ := start()
		for _, x := range []ikewire.ExchangeType{ikewire.IKEAuth, ikewire.IKEIntermediate} {
			refusal := message(t, ikewire.Header{
				InitiatorSPI: ikewire.IKESPI{1}, ResponderSPI: ikewire.IKESPI{2}, Exchange: x, Flags: ikewire.FlagResponse, MessageID: 1,
			})
			if err := r.Send(Datagram{Port: 500, Remote: there, Message: refusal}); err != nil {
				t.Fatal(err)
			}
		}
		for range 3 * burst {
			take(r, there, 500, request(t, ikewire.IKEAuth))
		}
		if c := r.Counters(); c.Taken != burst {
			t.Errorf("%+v", c)
		}
	})
}

// TestOneIKESAIsPaced: one that is established holds up no other.
func TestOneIKESAIsPaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _, _ := start()
		if err := r.Send(Datagram{Port: 500, Remote: there, Message: answer(t)}); err != nil {
			t.Fatal(err)
		}
		for range 2 * depth(established) {
			take(r, there, 500, request(t, ikewire.Informational))
		}
		if c := r.Counters(); c.Taken != uint64(acquaintances.burst) || c.Full != 0 {
			t.Errorf("%+v", c)
		}
	})
}
