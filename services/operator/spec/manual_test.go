package spec

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/operator/ipam"
	"sallyport.dev/sallyport/services/protocol/transform"
)

// keyOf is key material of n bytes that begins with first.
func keyOf(first byte, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = first + byte(i)
	}
	return fmt.Sprintf("0x%x", b)
}

func manualPeer(change func(*operatorv1.ManualPeerSpec)) *operatorv1.ManualPeer {
	p := &operatorv1.ManualPeer{Metadata: &operatorv1.Metadata{Name: "branch"}, Spec: &operatorv1.ManualPeerSpec{
		Host: "host-1", Local: []string{"172.16.1.0/24"}, Remote: []string{"172.16.2.0/24"}, RemoteAddress: "192.0.2.9",
		Inbound:  &operatorv1.ManualAssociation{Spi: 4097, Key: keyOf(1, 64)},
		Outbound: &operatorv1.ManualAssociation{Spi: 8193, Key: keyOf(101, 64)},
	}}
	if change != nil {
		change(p.Spec)
	}
	CompleteManualPeer(p)
	return p
}

var pools = ipam.Pools{IPv4: netip.MustParsePrefix("10.86.0.0/16"), IPv6: netip.MustParsePrefix("fd86::/64")}

func TestManualPeerDefaults(t *testing.T) {
	p := manualPeer(nil)
	want := &operatorv1.ManualPeerSpec{
		Host: "host-1", Local: []string{"172.16.1.0/24"}, Remote: []string{"172.16.2.0/24"}, RemoteAddress: "192.0.2.9",
		Mode: "tunnel", Protocol: "esp", Proposal: "aes256-sha256", Encapsulation: "udp", Df: "copy", Esn: proto.Bool(true), ReplayWindow: 2048,
		Inbound: p.Spec.Inbound, Outbound: p.Spec.Outbound,
	}
	if !proto.Equal(p.GetSpec(), want) {
		t.Errorf("complete: %v, want %v", p.GetSpec(), want)
	}
	CompleteManualPeer(p)
	if !proto.Equal(p.GetSpec(), want) {
		t.Errorf("completed twice: %v", p.GetSpec())
	}
	keys, r := CheckManualPeer(p, pools)
	if len(r.Problems)+len(r.Warnings) != 0 || len(keys.Inbound) != 64 || keys.Outbound[0] != 101 {
		t.Errorf("%v, keys of %d and %d bytes", r, len(keys.Inbound), len(keys.Outbound))
	}
	keys.Clear()
	if keys.Inbound[0] != 0 || keys.Outbound[63] != 0 {
		t.Error("Clear leaves keys")
	}
	ah := manualPeer(func(s *operatorv1.ManualPeerSpec) {
		s.Protocol, s.Esn = "ah", proto.Bool(false)
		s.Inbound.Key, s.Outbound.Key = keyOf(1, 32), keyOf(101, 32)
	})
	if _, r := CheckManualPeer(ah, pools); len(r.Problems) != 0 || ah.Spec.Proposal != "sha256" || ah.Spec.Encapsulation != "native" || ah.Spec.GetEsn() {
		t.Errorf("AH: %v, %v", r, ah.GetSpec())
	}
}

// TestManualPeerRefusals: each wrong field has a problem of its own that says what is wrong.
func TestManualPeerRefusals(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*operatorv1.ManualPeerSpec)
		field  string
		want   string
	}{
		"no host":        {func(s *operatorv1.ManualPeerSpec) { s.Host = "" }, "spec.host", "name the host"},
		"bad host":       {func(s *operatorv1.ManualPeerSpec) { s.Host = "Web_1" }, "spec.host", `"Web_1" is not a name`},
		"mode":           {func(s *operatorv1.ManualPeerSpec) { s.Mode = "beet" }, "spec.mode", "none of tunnel, transport"},
		"protocol":       {func(s *operatorv1.ManualPeerSpec) { s.Protocol = "gre" }, "spec.protocol", "none of esp, ah"},
		"encapsulation":  {func(s *operatorv1.ManualPeerSpec) { s.Encapsulation = "tcp" }, "spec.encapsulation", "none of udp, native"},
		"DF":             {func(s *operatorv1.ManualPeerSpec) { s.Df = "no" }, "spec.df", "none of copy, set, clear"},
		"small window":   {func(s *operatorv1.ManualPeerSpec) { s.ReplayWindow = 16 }, "spec.replay_window", "at least 32"},
		"wide window":    {func(s *operatorv1.ManualPeerSpec) { s.ReplayWindow = 4097 }, "spec.replay_window", "4097 is not a window"},
		"ESN, no window": {func(s *operatorv1.ManualPeerSpec) { s.ReplayWindow = -1 }, "spec.replay_window", "esn: false only"},
		"no peer":        {func(s *operatorv1.ManualPeerSpec) { s.RemoteAddress = "" }, "spec.remote_address", "is missing"},
		"peer by name":   {func(s *operatorv1.ManualPeerSpec) { s.RemoteAddress = "router.example" }, "spec.remote_address", "names are not resolved"},
		"port, native":   {func(s *operatorv1.ManualPeerSpec) { s.RemoteAddress, s.Encapsulation = "192.0.2.9:4500", "native" }, "spec.remote_address", "only encapsulation udp has ports"},
		"local port":     {func(s *operatorv1.ManualPeerSpec) { s.LocalAddress = "192.0.2.1:4500" }, "spec.local_address", "the host's is its agent's own"},
		"two families":   {func(s *operatorv1.ManualPeerSpec) { s.LocalAddress = "2001:db8::1" }, "spec.local_address", "not of one family"},
		"overlay":        {func(s *operatorv1.ManualPeerSpec) { s.RemoteAddress = "10.86.0.9" }, "spec.remote_address", "own address pool"},
		"no traffic":     {func(s *operatorv1.ManualPeerSpec) { s.Local = nil }, "spec.local", "is empty"},
		"bad selector":   {func(s *operatorv1.ManualPeerSpec) { s.Remote = []string{"172.16.2.0/24", "moon"} }, "spec.remote[1]", "moon"},
		"subnet between": {func(s *operatorv1.ManualPeerSpec) {
			s.Mode, s.Remote, s.Local = "transport", []string{"192.0.2.9"}, []string{"172.16.1.0/24"}
		}, "spec.local[0]", "the two ends themselves"},
		"other end": {func(s *operatorv1.ManualPeerSpec) {
			s.Mode, s.Remote, s.Local = "transport", []string{"192.0.2.8"}, []string{"192.0.2.1"}
		}, "spec.remote[0]", "own address 192.0.2.9"},
		"no inbound":    {func(s *operatorv1.ManualPeerSpec) { s.Inbound = nil }, "spec.inbound", "is missing"},
		"no outbound":   {func(s *operatorv1.ManualPeerSpec) { s.Outbound = nil }, "spec.outbound", "is missing"},
		"reserved SPI":  {func(s *operatorv1.ManualPeerSpec) { s.Inbound.Spi = 255 }, "spec.inbound.spi", "255 is reserved"},
		"reserved out":  {func(s *operatorv1.ManualPeerSpec) { s.Outbound.Spi = 1 }, "spec.outbound.spi", "1 is reserved"},
		"planner's SPI": {func(s *operatorv1.ManualPeerSpec) { s.Inbound.Spi = 1 << 24 }, "spec.inbound.spi", "choose one from 256 to 16777215"},
		"AES-GCM":       {func(s *operatorv1.ManualPeerSpec) { s.Proposal = "aes256gcm16" }, "spec.proposal", "MUST NOT be used with manual keys (RFC 8221 section 3)"},
		"AES-CCM":       {func(s *operatorv1.ManualPeerSpec) { s.Proposal = "aes128ccm16" }, "spec.proposal", "RFC 8221 section 3"},
		"AES-CTR":       {func(s *operatorv1.ManualPeerSpec) { s.Proposal = "aes128ctr-sha256" }, "spec.proposal", "RFC 8221 section 3"},
		"ChaCha20":      {func(s *operatorv1.ManualPeerSpec) { s.Proposal = "chacha20poly1305" }, "spec.proposal", "RFC 8221 section 3"},
		"GMAC":          {func(s *operatorv1.ManualPeerSpec) { s.Proposal = "aes128gmac" }, "spec.proposal", "RFC 8221 section 3"},
		"insecure GCM":  {func(s *operatorv1.ManualPeerSpec) { s.Proposal, s.Insecure = "aes256gcm16", true }, "spec.proposal", "RFC 8221 section 3"},
		"GMAC in AH": {func(s *operatorv1.ManualPeerSpec) {
			s.Protocol, s.Proposal, s.Encapsulation = "ah", "aes128gmac", "native"
		}, "spec.proposal", "RFC 8221 section 3"},
		"no integrity":  {func(s *operatorv1.ManualPeerSpec) { s.Proposal = "aes256" }, "spec.proposal", "RFC 8221 section 4"},
		"3DES":          {func(s *operatorv1.ManualPeerSpec) { s.Proposal = "3des-sha1" }, "spec.proposal", "insecure: true"},
		"ESN by suffix": {func(s *operatorv1.ManualPeerSpec) { s.Proposal = "aes256-sha256-esn" }, "spec.proposal", "are spec.esn here"},
		"AH that hides": {func(s *operatorv1.ManualPeerSpec) {
			s.Protocol, s.Proposal, s.Encapsulation = "ah", "aes256-sha256", "native"
		}, "spec.proposal", "AH hides nothing"},
		"AH in UDP": {func(s *operatorv1.ManualPeerSpec) {
			s.Protocol, s.Proposal, s.Encapsulation, s.Inbound.Key, s.Outbound.Key = "ah", "sha256", "udp", "", ""
		}, "spec.encapsulation", "RFC 3948"},
		"short key":       {func(s *operatorv1.ManualPeerSpec) { s.Inbound.Key = keyOf(1, 63) }, "spec.inbound.key", "has 63 bytes, wanted are 64: 32 for aes256, then 32 for sha256"},
		"key without 0x":  {func(s *operatorv1.ManualPeerSpec) { s.Outbound.Key = s.Outbound.Key[2:] }, "spec.outbound.key", "does not begin with 0x"},
		"half a byte":     {func(s *operatorv1.ManualPeerSpec) { s.Outbound.Key += "0" }, "spec.outbound.key", "odd number"},
		"no digits":       {func(s *operatorv1.ManualPeerSpec) { s.Outbound.Key = "0x" + strings.Repeat("zz", 64) }, "spec.outbound.key", "no hexadecimal digits"},
		"half a key same": {func(s *operatorv1.ManualPeerSpec) { s.Outbound.Key = s.Inbound.Key[:66] + s.Outbound.Key[66:] }, "spec.outbound.key", "keys of its own"},
	} {
		p := manualPeer(tt.change)
		_, r := CheckManualPeer(p, pools)
		if len(r.Problems) != 1 || r.Problems[0].Field != tt.field || !strings.Contains(r.Problems[0].Text, tt.want) {
			t.Errorf("%s: %v, want %s: %q", name, r.Problems, tt.field, tt.want)
		}
		for _, problem := range r.Problems {
			for _, key := range []string{p.GetSpec().GetInbound().GetKey(), p.GetSpec().GetOutbound().GetKey()} {
				if len(key) > 8 && strings.Contains(problem.Text, key[2:8]) {
					t.Errorf("%s: the problem shows the key: %s", name, problem.Text)
				}
			}
		}
	}
}

// TestManualProposals: what counts no nonces may be used, with keys of just the right length.
func TestManualProposals(t *testing.T) {
	accepted := 0
	for _, suite := range transform.Suites() {
		p := manualPeer(func(s *operatorv1.ManualPeerSpec) {
			s.Proposal = suite.String()
			s.Inbound.Key, s.Outbound.Key = keyOf(1, suite.KeymatLen()), keyOf(101, suite.KeymatLen())
		})
		_, r := CheckManualPeer(p, pools)
		// RFC 8221 section 3 names AES-CTR, AES-CCM, AES-GCM and ChaCha20-Poly1305; GMAC is GCM.
		counter := strings.Contains(suite.String(), "ctr") || strings.Contains(suite.String(), "ccm") || strings.Contains(suite.String(), "gcm") ||
			strings.Contains(suite.String(), "chacha") || strings.Contains(suite.String(), "gmac")
		if counter == (len(r.Problems) == 0) {
			t.Errorf("%v: %v", suite, r.Problems)
		}
		if private := suite.Integrity.Private() && !counter; private != (len(r.Warnings) == 1) {
			t.Errorf("%v: %v", suite, r.Warnings)
		}
		if !counter {
			accepted++
			if KeyBytes(p.GetSpec()) != suite.KeymatLen() {
				t.Errorf("%v: %d bytes", suite, KeyBytes(p.GetSpec()))
			}
		}
	}
	if accepted < 20 {
		t.Errorf("only %d suites may be used", accepted)
	}
	for _, i := range transform.Integrities() {
		p := manualPeer(func(s *operatorv1.ManualPeerSpec) {
			s.Protocol, s.Proposal = "ah", i.Name
			s.Inbound.Key, s.Outbound.Key = keyOf(1, i.KeymatLen()), keyOf(101, i.KeymatLen())
		})
		if _, r := CheckManualPeer(p, pools); (len(r.Problems) == 0) == i.AHOnly() {
			t.Errorf("AH with %v: %v", i, r.Problems)
		}
	}
}

func TestManualTraffic(t *testing.T) {
	for name, tt := range map[string]struct {
		change   func(*operatorv1.ManualPeerSpec)
		warnings int
	}{
		"ports": {func(s *operatorv1.ManualPeerSpec) {
			s.Remote = []string{"172.16.2.1-172.16.2.9 tcp/80-90", "2001:db8::/64", "any4 udp"}
		}, 0},
		"overlay": {func(s *operatorv1.ManualPeerSpec) { s.Remote = []string{"10.86.1.0/24"} }, 1},
		"transport": {func(s *operatorv1.ManualPeerSpec) {
			s.Mode, s.Remote, s.Local = "transport", []string{"192.0.2.9 tcp/443"}, []string{"192.0.2.1"}
		}, 0},
		"IPv6": {func(s *operatorv1.ManualPeerSpec) {
			s.RemoteAddress, s.LocalAddress = "[2001:db8::9]:4501", "2001:db8::1"
		}, 0},
		"no window": {func(s *operatorv1.ManualPeerSpec) { s.Esn, s.ReplayWindow = proto.Bool(false), -1 }, 0},
		"keys kept": {func(s *operatorv1.ManualPeerSpec) { s.Inbound.Key, s.Outbound.Key = "", Redacted }, 0},
	} {
		if _, r := CheckManualPeer(manualPeer(tt.change), pools); len(r.Problems) != 0 || len(r.Warnings) != tt.warnings {
			t.Errorf("%s: %v", name, r)
		}
	}
}

func TestClash(t *testing.T) {
	with := func(name, host string, spi uint32, in, out string) *operatorv1.ManualPeer {
		return &operatorv1.ManualPeer{Metadata: &operatorv1.Metadata{Name: name}, Spec: &operatorv1.ManualPeerSpec{Host: host,
			Inbound: &operatorv1.ManualAssociation{Spi: spi, Fingerprint: in}, Outbound: &operatorv1.ManualAssociation{Spi: 1, Fingerprint: out}}}
	}
	for _, tt := range []struct {
		a, b *operatorv1.ManualPeer
		want string // of fields
	}{
		{with("a", "h", 1, "1", "2"), with("b", "h", 2, "3", "4"), ""},
		{with("a", "h", 1, "1", "2"), with("b", "i", 1, "3", "4"), ""},
		{with("a", "h", 1, "1", "2"), with("b", "h", 1, "3", "4"), "spec.inbound.spi"},
		{with("a", "h", 1, "1", "2"), with("b", "i", 1, "2", "4"), "spec.outbound.key"},
		{with("a", "h", 1, "1", "2"), with("b", "i", 1, "3", "1"), "spec.inbound.key"},
		{with("a", "h", 1, "", ""), with("b", "i", 1, "", ""), ""},
	} {
		r := Clash(tt.a, tt.b)
		var fields []string
		for _, p := range r.Problems {
			fields = append(fields, p.Field)
			if !strings.Contains(p.Text, `"b"`) {
				t.Errorf("%q does not say which other peer", p.Text)
			}
		}
		if got := strings.Join(fields, ","); got != tt.want {
			t.Errorf("%v and %v: %q, want %q", tt.a, tt.b, got, tt.want)
		}
	}
}
