package ikewire

import (
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestNotify(t *testing.T) {
	checkPayloads(t, []payloadCase{
		{"flag", Notify{Type: InitialContact}, "00 00 4000"},
		{"data", NewCookie([]byte{0xaa, 0xbb}), "00 00 4006 aabb"},
		{"child SA", NewChildNotify(RekeySA, ProtocolESP, 0xc0decafe), "03 04 4009 c0decafe"},
		{"old peers name IKE", Notify{Protocol: ProtocolIKE, Type: NoProposalChosen}, "01 00 000e"},
		{"unknown", Notify{201, []byte{1}, 0xa000, []byte{2}}, "c9 01 a000 01 02"},
	})
	checkRefused(t, PayloadNotify, []refusedCase{
		{"half a header", "00 00 40", ErrTruncated},
		{"SPI past the end", "03 04 4009 c0deca", ErrTruncated},
	})
	checkUnsendable(t, []unsendableCase{{"long SPI", Notify{SPI: make([]byte, 256)}, ErrLength}})
}

// notifyCase is a notify type with its data and what its method reads from it.
type notifyCase struct {
	name string
	n    Notify
	data string
	read func(Notify) (any, error)
	want any
}

func read[T any](f func(Notify) (T, error)) func(Notify) (any, error) {
	return func(n Notify) (any, error) { return f(n) }
}

func notifyCases(t testing.TB) []notifyCase {
	v4, v6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	redirect := func(kind NotifyType, r Redirect) Notify {
		n, err := NewRedirect(kind, r)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	announcements := []AuthAnnouncement{
		{Method: AuthSharedKey},
		{Method: AuthECDSAP256, CertLink: 2},
		{AuthDigitalSig, 1, SignEd25519.AlgorithmIdentifier()},
	}
	methods, err := NewAuthAnnouncements(announcements)
	if err != nil {
		t.Fatal(err)
	}
	nonce := []byte("0123456789abcdef")
	hashes := []HashAlgorithm{HashSHA256, HashIdentity, 0x1234}
	offer := PPKOffer{PPKID{PPKIDFixed, []byte("k")}, [8]byte{1, 2, 3, 4, 5, 6, 7, 8}}
	sync := MessageIDSync{[4]byte{1, 2, 3, 4}, 5, 6}
	return []notifyCase{
		{"COOKIE", NewCookie([]byte{1}), "01", read(Notify.Cookie), []byte{1}},
		{"COOKIE2", NewCookie2(nonce[:8]), "3031323334353637", read(Notify.Cookie2), nonce[:8]},
		{"INVALID_KE_PAYLOAD", NewInvalidKE(31), "001f", read(Notify.KeyExchangeMethod), uint16(31)},
		{"UNSUPPORTED_CRITICAL_PAYLOAD", Notify{Type: UnsupportedCriticalPayload, Data: []byte{200}}, "c8",
			read(Notify.CriticalPayload), PayloadType(200)},
		{"INVALID_SPI", Notify{Type: InvalidSPI, Data: []byte{1, 2, 3, 4}}, "01020304", read(Notify.UnknownSPI), uint32(0x01020304)},
		{"INVALID_MESSAGE_ID", Notify{Type: InvalidMessageID, Data: []byte{1, 2, 3, 4}}, "01020304",
			read(Notify.UnknownMessageID), uint32(0x01020304)},
		{"SET_WINDOW_SIZE", NewWindowSize(8), "00000008", read(Notify.WindowSize), uint32(8)},
		{"AUTH_LIFETIME", NewAuthLifetime(3600), "00000e10", read(Notify.AuthLifetime), uint32(3600)},
		{"NAT_DETECTION_SOURCE_IP", NewNATDetection(NATDetectionSourceIP, NATHash{1, 19: 2}),
			"0100000000000000000000000000000000000002", read(Notify.NATHash), NATHash{1, 19: 2}},
		{"ADDITIONAL_IP4_ADDRESS", NewAdditionalAddress(netip.MustParseAddr("::ffff:192.0.2.1")), "c0000201", read(Notify.AdditionalAddress), v4},
		{"ADDITIONAL_IP6_ADDRESS", NewAdditionalAddress(v6), "20010db8000000000000000000000001", read(Notify.AdditionalAddress), v6},
		{"REDIRECT to IPv4", redirect(RedirectTo, Redirect{Addr: v4, Nonce: nonce}), "01 04 c0000201 30313233343536373839616263646566",
			read(Notify.Redirect), Redirect{Addr: v4, Nonce: nonce}},
		{"REDIRECT to IPv6", redirect(RedirectTo, Redirect{Addr: v6}), "02 10 20010db8000000000000000000000001",
			read(Notify.Redirect), Redirect{Addr: v6}},
		{"REDIRECTED_FROM", redirect(RedirectedFrom, Redirect{Name: "a.b"}), "03 03 612e62", read(Notify.Redirect), Redirect{Name: "a.b"}},
		{"QUICK_CRASH_DETECTION", Notify{Type: QuickCrashDetection, Data: nonce}, "30313233343536373839616263646566", read(Notify.QCDToken), nonce},
		{"IKEV2_MESSAGE_ID_SYNC", NewMessageIDSync(sync), "01020304 00000005 00000006", read(Notify.MessageIDSync), sync},
		{"IPSEC_REPLAY_COUNTER_SYNC", Notify{Type: IPsecReplayCounterSync, Data: []byte{0, 0, 1, 0}}, "00000100", read(Notify.ReplayCounterSync), uint64(256)},
		{"IPSEC_REPLAY_COUNTER_SYNC, ESN", Notify{Type: IPsecReplayCounterSync, Data: []byte{1, 0, 0, 0, 0, 0, 0, 0}}, "0100000000000000",
			read(Notify.ReplayCounterSync), uint64(1 << 56)},
		{"SIGNATURE_HASH_ALGORITHMS", NewHashAlgorithms(hashes), "0002 0005 1234", read(Notify.HashAlgorithms), hashes},
		{"SUPPORTED_AUTH_METHODS", methods, "0202 030902 0a0e01 300506032b6570", read(Notify.AuthAnnouncements), announcements},
		{"PUZZLE", Notify{Type: Puzzle, Data: []byte{0, 5, 20}}, "000514", read(Notify.PuzzleTask), PuzzleTask{5, 20}},
		{"PPK_IDENTITY", NewPPKIdentity(PPKID{PPKIDOpaque, []byte("k")}), "01 6b", read(Notify.PPKIdentity), PPKID{PPKIDOpaque, []byte("k")}},
		{"PPK_IDENTITY of the responder", NewPPKIdentity(PPKID{}), "", read(Notify.PPKIdentity), PPKID{}},
		{"PPK_IDENTITY_KEY", NewPPKIdentityKey(offer), "02 6b 0102030405060708", read(Notify.PPKIdentityKey), offer},
		{"NO_PPK_AUTH", NewNoPPKAuth([]byte{9}), "09", read(Notify.NoPPKAuth), []byte{9}},
		{"ADDITIONAL_KEY_EXCHANGE", NewAdditionalKeyExchange([]byte{9}), "09", read(Notify.KeyExchangeLink), []byte{9}},
		{"USE_AGGFRAG", Notify{Type: UseAGGFRAG, Data: []byte{3}}, "03", read(Notify.AGGFRAGFlags), AGGFRAGDontFragment | AGGFRAGCongestionControl},
	}
}

// TestNotifyData: each constructor and method are each other's inverse, a method refuses
// other types, and every prefix is refused or means the prefix.
func TestNotifyData(t *testing.T) {
	for _, c := range notifyCases(t) {
		t.Run(c.name, func(t *testing.T) {
			if data := unhex(t, c.data); !slices.Equal(c.n.Data, data) {
				t.Errorf("data %x, want %x", c.n.Data, data)
			}
			if got, err := c.read(c.n); err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %#v, %v; want %#v", got, err, c.want)
			}
			if err := c.n.CheckData(); err != nil {
				t.Error(err)
			}
			if got, err := c.read(Notify{Type: InitialContact, Data: c.n.Data}); !errors.Is(err, ErrValue) {
				t.Errorf("another type: %#v, %v", got, err)
			}
			for n := range c.n.Data {
				short := c.n
				short.Data = short.Data[:n]
				got, err := c.read(short)
				if err == nil && reflect.DeepEqual(got, c.want) {
					t.Errorf("%d of %d bytes mean the same", n, len(c.n.Data))
				}
				if err != nil {
					wantTyped(t, err)
				}
				if check := short.CheckData(); (check == nil) != (err == nil) {
					t.Errorf("%d bytes: method %v, check %v", n, err, check)
				}
			}
		})
	}
}

func TestNotifyDataRefused(t *testing.T) {
	for _, c := range []struct {
		name string
		kind NotifyType
		data string
		want error
	}{
		{"empty cookie", Cookie, "", ErrLength},
		{"65-byte cookie", Cookie, strings.Repeat("aa", 65), ErrLength},
		{"7-byte cookie2", Cookie2, strings.Repeat("aa", 7), ErrLength},
		{"one-byte method", InvalidKEPayload, "1f", ErrLength},
		{"three-byte method", InvalidKEPayload, "00001f", ErrLength},
		{"two critical payloads", UnsupportedCriticalPayload, "c8c9", ErrLength},
		{"window 0", SetWindowSize, "00000000", ErrValue},
		{"IPComp without transform", IPCompSupported, "0001", ErrLength},
		{"19-byte NAT hash", NATDetectionSourceIP, strings.Repeat("aa", 19), ErrLength},
		{"21-byte NAT hash", NATDetectionDestinationIP, strings.Repeat("aa", 21), ErrLength},
		{"IPv6 as IPv4", AdditionalIP4Address, strings.Repeat("aa", 16), ErrLength},
		{"IPv4 as IPv6", AdditionalIP6Address, strings.Repeat("aa", 4), ErrLength},
		{"redirect of unknown type", RedirectTo, "04 01 61", ErrValue},
		{"redirect to IPv4 of 3 bytes", RedirectTo, "01 03 c00002", ErrValue},
		{"redirect to nobody", RedirectTo, "03 00", ErrValue},
		{"redirect to a NUL", RedirectTo, "03 01 00", ErrValue},
		{"redirect past the end", RedirectTo, "03 02 61", ErrTruncated},
		{"redirect with a short nonce", RedirectTo, "03 01 61 0000", ErrLength},
		{"redirected from, with a nonce", RedirectedFrom, "03 01 61" + strings.Repeat("00", 16), ErrLength},
		{"15-byte token", QuickCrashDetection, strings.Repeat("aa", 15), ErrLength},
		{"5-byte counter", IPsecReplayCounterSync, "0000000000", ErrLength},
		{"no hash", SignatureHashAlgorithms, "", ErrLength},
		{"odd hashes", SignatureHashAlgorithms, "000200", ErrLength},
		{"65 hashes", SignatureHashAlgorithms, strings.Repeat("0002", 65), ErrTooMany},
		{"announcement of 1 byte", SupportedAuthMethods, "0102", ErrLength},
		{"announcement past the end", SupportedAuthMethods, "0302", ErrTruncated},
		{"65 announcements", SupportedAuthMethods, strings.Repeat("0202", 65), ErrTooMany},
		{"PPK ID without name", PPKIdentity, "01", ErrLength},
		{"PPK ID without name, with confirmation", PPKIdentityKey, "01 0102030405060708", ErrLength},
		{"empty NO_PPK_AUTH", NoPPKAuth, "", ErrLength},
		{"empty link", AdditionalKeyExchange, "", ErrLength},
		{"flag with data", UseTransportMode, "00", ErrLength},
		{"fragmentation with data", IKEv2FragmentationSupported, "00", ErrLength},
	} {
		if err := (Notify{Type: c.kind, Data: unhex(t, c.data)}).CheckData(); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	for _, ok := range []Notify{{Type: UseTransportMode}, {Type: RedirectSupported, Data: []byte{1}}, {Type: 0xa000, Data: []byte{1}}, {Type: MOBIKESupported, Data: []byte{1}}} {
		if err := ok.CheckData(); err != nil {
			t.Errorf("%s: %v", ok, err)
		}
	}
}

func TestNotifyConstructorsRefuse(t *testing.T) {
	for _, r := range []Redirect{{}, {Name: strings.Repeat("a", 256)}} {
		if n, err := NewRedirect(RedirectTo, r); !errors.Is(err, ErrLength) {
			t.Errorf("got %s, %v", n, err)
		}
	}
	if n, err := NewAuthAnnouncements([]AuthAnnouncement{{AuthDigitalSig, 0, make([]byte, 253)}}); !errors.Is(err, ErrLength) {
		t.Errorf("got %s, %v", n, err)
	}
}

func TestChildSPI(t *testing.T) {
	protocol, spi, err := NewChildNotify(ChildSANotFound, ProtocolAH, 0x100).ChildSPI()
	if err != nil || protocol != ProtocolAH || spi != 0x100 {
		t.Errorf("got %s, %x, %v", protocol, spi, err)
	}
	for _, c := range []struct {
		n    Notify
		want error
	}{
		{Notify{Type: RekeySA, Protocol: ProtocolIKE, SPI: make([]byte, 8)}, ErrValue},
		{Notify{Type: RekeySA, SPI: make([]byte, 4)}, ErrValue},
		{Notify{Type: RekeySA, Protocol: ProtocolESP}, ErrLength},
		{Notify{Type: RekeySA, Protocol: ProtocolESP, SPI: make([]byte, 8)}, ErrLength},
	} {
		if _, _, err := c.n.ChildSPI(); !errors.Is(err, c.want) || !errors.Is(c.n.CheckData(), c.want) {
			t.Errorf("%s: %v, want %v", c.n, err, c.want)
		}
	}
}

// TestNATHash: the destinations that strongSwan hashed in the transcript's first request
// and response. (Its sources are made up: kernel-libipsec wants UDP encapsulation always.)
func TestNATHash(t *testing.T) {
	for i, addr := range []string{"10.99.0.2:500", "10.99.0.1:500"} {
		m, err := Parse(transcript(t).messages[i].raw)
		if err != nil {
			t.Fatal(err)
		}
		n, ok := FindNotify(m.Payloads, NATDetectionDestinationIP)
		if !ok {
			t.Fatal("no NAT_DETECTION_DESTINATION_IP")
		}
		if got, err := n.NATHash(); err != nil || got != NewNATHash(m.Header, netip.MustParseAddrPort(addr)) {
			t.Errorf("%s: %x, %v", addr, got, err)
		}
	}
}

func TestAdditionalAddresses(t *testing.T) {
	v4, v6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	for _, c := range []struct {
		name string
		ps   []Payload
		want []netip.Addr
		told bool
		err  error
	}{
		{"two", []Payload{NewAdditionalAddress(v6), VendorID{}, NewAdditionalAddress(v4)}, []netip.Addr{v6, v4}, true, nil},
		{"none", []Payload{Notify{Type: NoAdditionalAddresses}}, nil, true, nil},
		{"not told", []Payload{Notify{Type: InitialContact}}, nil, false, nil},
		{"malformed", []Payload{Notify{Type: AdditionalIP4Address}}, nil, false, ErrLength},
		{"65", slices.Repeat([]Payload{NewAdditionalAddress(v4)}, 65), nil, false, ErrTooMany},
	} {
		got, told, err := AdditionalAddresses(c.ps)
		if !slices.Equal(got, c.want) || told != c.told || !errors.Is(err, c.err) {
			t.Errorf("%s: %v, %v, %v", c.name, got, told, err)
		}
	}
}

// FuzzNotify mutates notifies of every type.
func FuzzNotify(f *testing.F) {
	seeds := []string{"00 00 4000", "03 04 4009 c0decafe", "c9 01 a000 01 02"}
	for _, c := range notifyCases(f) {
		b := c.n.appendBody(nil)
		f.Add(uint8(0), b)
	}
	fuzzPayload(f, PayloadNotify, seeds...)
}
