package ipseckey

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// zone is a server's answer to every question.
type zone struct {
	secure, checkingDisabled, truncate bool
	rcode                              dnsmessage.RCode
	answers                            []rr
	stray                              bool // a datagram with another id goes first
}

type rr struct {
	owner string
	kind  dnsmessage.Type
	data  string // CNAME: a name; else raw
	ttl   uint32
}

func (z zone) reply(t testing.TB, query []byte, tcp bool) []byte {
	var p dnsmessage.Parser
	h, err := p.Start(query)
	if err != nil {
		t.Error(err)
		return nil
	}
	q, err := p.AllQuestions()
	if err != nil || !h.AuthenticData || !h.RecursionDesired || h.CheckingDisabled {
		t.Errorf("question %v %v, %v", h, q, err)
	}
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{
		ID: h.ID, Response: true, AuthenticData: z.secure, CheckingDisabled: z.checkingDisabled,
		Truncated: z.truncate && !tcp, RCode: z.rcode,
	})
	errs := []error{b.StartQuestions(), b.Question(q[0]), b.StartAnswers()}
	for _, r := range z.answers {
		name := dnsmessage.MustNewName(r.owner)
		header := dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET, TTL: r.ttl}
		if r.kind == dnsmessage.TypeCNAME {
			errs = append(errs, b.CNAMEResource(header, dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName(r.data)}))
		} else {
			errs = append(errs, b.UnknownResource(header, dnsmessage.UnknownResource{Type: r.kind, Data: []byte(r.data)}))
		}
	}
	m, err := b.Finish()
	if err := errors.Join(append(errs, err)...); err != nil {
		t.Error(err)
	}
	return m
}

// serve answers on a loopback port, UDP and TCP, and counts questions.
func serve(t *testing.T, z zone) (netip.AddrPort, *atomic.Int32) {
	t.Helper()
	asked := new(atomic.Int32)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().(*net.TCPAddr).AddrPort()
	u, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{}, 2)
	t.Cleanup(func() { l.Close(); u.Close(); <-done; <-done })
	go func() {
		defer func() { done <- struct{}{} }()
		for buf := make([]byte, 4096); ; {
			n, from, err := u.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			asked.Add(1)
			m := z.reply(t, buf[:n], false)
			if z.stray {
				other := append([]byte(nil), m...)
				other[0] ^= 1
				_, _ = u.WriteToUDPAddrPort(other, from)
			}
			_, _ = u.WriteToUDPAddrPort(m, from)
		}
	}()
	go func() {
		defer func() { done <- struct{}{} }()
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			asked.Add(1)
			var length [2]byte
			_, _ = io.ReadFull(c, length[:])
			query := make([]byte, binary.BigEndian.Uint16(length[:]))
			_, _ = io.ReadFull(c, query)
			m := z.reply(t, query, true)
			_, _ = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(m))), m...))
			c.Close()
		}
	}()
	return addr, asked
}

const good = "\x0a\x00\x04" + "0123456789abcdef0123456789abcdef"

func TestLookup(t *testing.T) {
	one := []rr{{"gw.example.", typeIPSECKEY, good, 60}}
	for name, c := range map[string]struct {
		zone zone
		want error
		n    int
		asks int32
	}{
		"secure":               {zone{secure: true, answers: one}, nil, 1, 1},
		"owner in capitals":    {zone{secure: true, answers: []rr{{"GW.Example.", typeIPSECKEY, good, 60}}}, nil, 1, 1},
		"by TCP":               {zone{secure: true, truncate: true, answers: one}, nil, 1, 2},
		"a stray before it":    {zone{secure: true, stray: true, answers: one}, nil, 1, 1},
		"AD clear":             {zone{answers: one}, ErrInsecure, 0, 1},
		"AD with CD":           {zone{secure: true, checkingDisabled: true, answers: one}, ErrInsecure, 0, 1},
		"bogus":                {zone{rcode: dnsmessage.RCodeServerFailure}, ErrLookup, 0, 1},
		"refused":              {zone{rcode: dnsmessage.RCodeRefused, secure: true, answers: one}, ErrLookup, 0, 1},
		"no such name":         {zone{rcode: dnsmessage.RCodeNameError, secure: true}, ErrNoRecord, 0, 1},
		"no record":            {zone{secure: true}, ErrNoRecord, 0, 1},
		"another's record":     {zone{secure: true, answers: []rr{{"a.gw.example.", typeIPSECKEY, good, 60}}}, ErrNoRecord, 0, 1},
		"only a broken record": {zone{secure: true, answers: []rr{{"gw.example.", typeIPSECKEY, "\x0a", 60}}}, ErrNoRecord, 0, 1},
		"one broken record":    {zone{secure: true, answers: append([]rr{{"gw.example.", typeIPSECKEY, "\x0a", 60}}, one...)}, nil, 1, 1},
		"alias": {zone{secure: true, answers: []rr{
			{"b.example.", typeIPSECKEY, good, 60}, {"gw.example.", dnsmessage.TypeCNAME, "a.example.", 60},
			{"a.example.", dnsmessage.TypeCNAME, "B.example.", 60}, {"b.example.", 46, "signature", 60}}}, nil, 1, 1},
		"alias without AD": {zone{answers: []rr{
			{"gw.example.", dnsmessage.TypeCNAME, "a.example.", 60}, {"a.example.", typeIPSECKEY, good, 60}}}, ErrInsecure, 0, 1},
		"alias in a circle": {zone{secure: true, answers: []rr{
			{"gw.example.", dnsmessage.TypeCNAME, "gw.example.", 60}}}, ErrLookup, 0, udpTries},
		"alias of two names": {zone{secure: true, answers: []rr{
			{"gw.example.", dnsmessage.TypeCNAME, "a.example.", 60}, {"gw.example.", dnsmessage.TypeCNAME, "b.example.", 60}}}, ErrLookup, 0, udpTries},
		"too many records": {zone{secure: true, truncate: true, answers: repeat(maxRecords+1, one[0])}, ErrLookup, 0, 2 * udpTries},
		"too many answers": {zone{secure: true, truncate: true, answers: repeat(maxAnswers+1, rr{"x.example.", 46, "s", 1})}, ErrLookup, 0, 2 * udpTries},
	} {
		t.Run(name, func(t *testing.T) {
			addr, asked := serve(t, c.zone)
			r, err := New(Config{Server: addr})
			if err != nil {
				t.Fatal(err)
			}
			// Wrong answers are waited out: what would be three times 1.5 s is cut short.
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			got, err := r.Lookup(ctx, "gw.example")
			if !errors.Is(err, c.want) || len(got.Records) != c.n {
				t.Errorf("got %+v, %v, want %v", got, err, c.want)
			}
			if asked.Load() != c.asks {
				t.Errorf("%d questions, want %d", asked.Load(), c.asks)
			}
		})
	}
}

func repeat(n int, r rr) []rr {
	all := make([]rr, n)
	for i := range all {
		all[i] = r
	}
	return all
}

func TestCacheFollowsTTL(t *testing.T) {
	for name, c := range map[string]struct {
		ttl  []uint32
		want time.Duration
	}{
		"as it says":         {[]uint32{300}, 300 * time.Second},
		"the least":          {[]uint32{300, 60}, 60 * time.Second},
		"at least a little":  {[]uint32{0}, minTTL},
		"at most an hour":    {[]uint32{86400 * 7}, maxTTL},
		"negative is no TTL": {[]uint32{1 << 31}, minTTL},
	} {
		t.Run(name, func(t *testing.T) {
			var z zone
			z.secure = true
			for _, ttl := range c.ttl {
				z.answers = append(z.answers, rr{"gw.example.", typeIPSECKEY, good, ttl})
			}
			addr, asked := serve(t, z)
			now := time.Unix(1e9, 0)
			r, err := New(Config{Server: addr, Now: func() time.Time { return now }})
			if err != nil {
				t.Fatal(err)
			}
			for _, step := range []struct {
				after time.Duration
				asked int32
			}{{0, 1}, {c.want - time.Second, 1}, {time.Second, 2}} {
				now = now.Add(step.after)
				if _, err := r.Lookup(t.Context(), "gw.example"); err != nil || asked.Load() != step.asked {
					t.Errorf("after %s: %d questions, %v", step.after, asked.Load(), err)
				}
			}
		})
	}
}

func TestCacheIsBounded(t *testing.T) {
	now := time.Unix(1e9, 0)
	r, err := New(Config{Server: netip.MustParseAddrPort("127.0.0.1:53"), Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 * maxCached {
		r.remember(strings.Repeat("a", i%50)+string(rune('a'+i%26))+time.Duration(i).String(), cached{expires: now.Add(time.Hour)})
	}
	if len(r.cache) > maxCached {
		t.Errorf("%d answers are remembered", len(r.cache))
	}
}

func TestPathMustBeTrusted(t *testing.T) {
	for server, trust := range map[string]bool{"127.0.0.1:53": true, "[::1]:53": true, "[::ffff:127.0.0.1]:53": true, "192.0.2.1:53": false} {
		_, err := New(Config{Server: netip.MustParseAddrPort(server)})
		if (err == nil) != trust || err != nil && !errors.Is(err, ErrUntrusted) {
			t.Errorf("%s: %v", server, err)
		}
		if _, err := New(Config{Server: netip.MustParseAddrPort(server), TrustPath: true}); err != nil {
			t.Errorf("%s, said to be trusted: %v", server, err)
		}
	}
	for _, server := range []netip.AddrPort{{}, netip.MustParseAddrPort("127.0.0.1:0")} {
		if _, err := New(Config{Server: server}); err == nil {
			t.Errorf("%s is a server", server)
		}
	}
}

func TestNobodyAnswers(t *testing.T) {
	u, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	r, err := New(Config{Server: u.LocalAddr().(*net.UDPAddr).AddrPort()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Lookup(ctx, "gw.example"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func FuzzReply(f *testing.F) {
	query, err := question(7, "gw.example")
	if err != nil {
		f.Fatal(err)
	}
	query[0], query[1] = 0, 7
	f.Add(zone{secure: true, answers: []rr{{"gw.example.", dnsmessage.TypeCNAME, "a.example.", 1}, {"a.example.", typeIPSECKEY, good, 1}}}.reply(f, query, true))
	f.Fuzz(func(t *testing.T, message []byte) {
		r, err := parseReply(7, "gw.example", message)
		if err == nil && len(r.records) > maxRecords {
			t.Fatalf("%d records", len(r.records))
		}
	})
}
