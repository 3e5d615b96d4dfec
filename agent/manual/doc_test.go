package manual

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/agent/datagram"
	"sallyport.dev/sallyport/agent/datapath"
	"sallyport.dev/sallyport/agent/netio"
	"sallyport.dev/sallyport/agent/offload"
	"sallyport.dev/sallyport/services/protocol/spd"
	"sallyport.dev/sallyport/services/protocol/transform"
)

// guide is the guide's text.
func guide(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../deploy/docs/manual-keying.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// example is the guide's file.
func example(t *testing.T) string {
	t.Helper()
	_, after, ok := strings.Cut(guide(t), "```yaml\n")
	text, _, closed := strings.Cut(after, "```")
	if !ok || !closed {
		t.Fatal("the guide has no example")
	}
	return text
}

// The guide's file is right, and the other end's commands are for just its SAs.
func TestGuide(t *testing.T) {
	f := mustParse(t, example(t))
	words := guide(t)
	if len(f.Policies) != 4 {
		t.Fatalf("%d policies", len(f.Policies))
	}
	for _, p := range f.Policies {
		if p.Action != spd.Protect {
			continue
		}
		here, there := p.Protection.Path.Local, p.Protection.Path.Remote.Addr()
		if p.Protection.In.Spec.Mode == datapath.Transport {
			here, there = p.Local[0].First, p.Remote[0].First
		}
		for _, d := range []struct {
			sa       SA
			from, to netip.Addr
		}{{p.Protection.Out, here, there}, {p.Protection.In, there, here}} {
			begin := fmt.Sprintf("ip xfrm state add src %v dst %v proto %v spi %#x ", d.from, d.to, d.sa.Spec.Protocol, d.sa.Spec.SPI)
			_, line, found := strings.Cut(words, begin)
			line, _, _ = strings.Cut(line, "\n")
			if !found {
				t.Errorf("%s: no command begins with %s", p.Name, begin)
				continue
			}
			wanted := []string{"mode " + d.sa.Spec.Mode.String(), "flag esn", "auth-trunc 'hmac(sha256)' 0x" + hex.EncodeToString(d.sa.Keymat[len(d.sa.Keymat)-32:]) + " 128"}
			if d.sa.Spec.Protocol == datapath.ESP {
				wanted = append(wanted, "enc 'cbc(aes)' 0x"+hex.EncodeToString(d.sa.Keymat[:32])+" ")
			}
			for _, w := range wanted {
				if !strings.Contains(line, w) {
					t.Errorf("%s: %q is not in %s", p.Name, w, line)
				}
			}
			if strings.Contains(line, "espinudp") != (d.sa.Spec.Encapsulation == datapath.UDP) {
				t.Errorf("%s: encapsulation in %s", p.Name, line)
			}
		}
	}
	for _, field := range protectionFields {
		if !strings.Contains(words, "`"+field) && !strings.Contains(words, " "+field+":") {
			t.Errorf("the guide says nothing of %s", field)
		}
	}
}

// none is a device and a socket on which nothing comes.
type none struct{}

func (none) Read([]byte, bool) (int, error)             { return 0, os.ErrClosed }
func (none) Write([][]byte) error                       { return nil }
func (none) Features() offload.Features                 { return offload.Features{} }
func (none) Recv([]datagram.Packet) (int, error)        { return 0, os.ErrClosed }
func (none) Send(ps []datagram.Packet) (int, error)     { return len(ps), nil }
func (none) PathErrors(func(datagram.PathError))        {}
func (none) Close() error                               { return nil }
func (none) Apply(context.Context, netio.Desired) error { return nil }

// The real datapath takes what was read: the guide's file, one with every field, and every suite.
func TestDatapathTakesIt(t *testing.T) {
	for _, text := range []string{example(t), everything, minimal, allSuites()} {
		both := datapath.Sockets{IPv4: none{}, IPv6: none{}}
		d, err := datapath.New(datapath.Config{TUN: none{}, UDP: both, ESP: both, AH: both, Clock: func() time.Duration { return time.Second }})
		if err != nil {
			t.Fatal(err)
		}
		a := NewApplier(Config{Datapath: d, Network: none{}, Reservations: openReservations(t, t.TempDir())})
		f := mustParse(t, text)
		protected := 0
		for _, p := range f.Policies {
			if p.Protection != nil {
				protected++
			}
		}
		for range 2 { // the second time nothing is touched
			if err := a.Apply(t.Context(), mustParse(t, text)); err != nil {
				t.Fatal(err)
			}
			if sas, pairs := d.SAs(), d.Pairs(); len(sas) != 2*protected || len(pairs) != protected {
				t.Errorf("%d SAs, %d pairs of %d", len(sas), len(pairs), protected)
			}
			for _, p := range d.Pairs() {
				if p.InboundGeneration != 1 || p.OutboundGeneration != 1 {
					t.Errorf("%s has generations %d and %d", p.RemoteHost, p.InboundGeneration, p.OutboundGeneration)
				}
			}
		}
		last := uint32(0)
		for _, e := range d.Policies() {
			if p := f.Policies[e.Order-1]; e.Order != last+1 || e.Action != p.Action || p.Protection != nil && e.Policy != p.Name {
				t.Errorf("entry %d: %v %q, want %v %q", e.Order, e.Action, e.Policy, p.Action, p.Name)
			}
			last = e.Order
		}
		if int(last) != len(f.Policies) {
			t.Errorf("%d entries of %d", last, len(f.Policies))
		}
		if err := a.Apply(t.Context(), mustParse(t, file())); err != nil {
			t.Fatal(err)
		}
		if len(d.SAs())+len(d.Pairs())+len(d.Policies()) != 0 {
			t.Errorf("%v %v %v are left", d.SAs(), d.Pairs(), d.Policies())
		}
	}
}

// allSuites is a file with a policy for every suite and every integrity algorithm of AH.
func allSuites() string {
	var b strings.Builder
	b.WriteString("insecure: true\ndefault: bypass\npolicies:\n")
	spi := 4096
	add := func(proposal, more string, n int) {
		spi++
		keys := [2]string{}
		for i := range keys { // no part of one is a part of another
			stream := sha256.Sum256(fmt.Append(nil, spi, i))
			material := slices.Clone(stream[:])
			for len(material) < n {
				stream = sha256.Sum256(stream[:])
				material = append(material, stream[:]...)
			}
			keys[i] = hex.EncodeToString(material[:n])
		}
		fmt.Fprintf(&b, "- {name: %d-%s, action: protect, local: [any4], remote: [any4], remote-address: 192.0.2.1, proposal: %s, in: {spi: %d, key: %q}, out: {spi: %d, key: %q}%s}\n",
			spi, proposal, proposal, spi, keys[0], spi, keys[1], more)
	}
	for _, s := range append(transform.Suites(), transform.InsecureSuites()...) {
		add(s.String(), "", s.KeymatLen())
	}
	for _, i := range transform.AHIntegrities() {
		add(i.Name, ", protocol: ah", i.KeymatLen())
	}
	return b.String()
}
