package render

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/controller/sallyport/resource"
)

func TestTable(t *testing.T) {
	table := Table{Header: []string{"NAME", "X"}, Rows: [][]Cell{
		{{Text: "日本"}, {Text: "wide"}},
		{{Text: "é"}, {Text: "combining"}},
		{{Text: ""}, {Text: "a\x1b[31m\nb\u202e", Style: Bad}},
	}}
	var b strings.Builder
	if err := table.Write(&b, false); err != nil {
		t.Fatal(err)
	}
	want := "NAME   X\n日本   wide\né      combining\n-      a [31m b \n"
	if b.String() != want {
		t.Errorf("got\n%q\nwant\n%q", b.String(), want)
	}
	b.Reset()
	if err := table.Write(&b, true); err != nil {
		t.Fatal(err)
	}
	if want := "\x1b[1mNAME\x1b[0m   \x1b[1mX\x1b[0m\n"; !strings.HasPrefix(b.String(), want) {
		t.Errorf("got %q, want the prefix %q", b.String(), want)
	}
	if n := strings.Count(b.String(), "\x1b[31m"); n != 1 {
		t.Errorf("%d times red: foreign text reached the terminal", n)
	}
}

func TestAge(t *testing.T) {
	const day = 24 * time.Hour
	for d, want := range map[time.Duration]string{
		-time.Hour: "0s", 0: "0s", 1999 * time.Millisecond: "1s", 59 * time.Second: "59s", time.Minute: "1m", 200 * time.Second: "3m20s",
		time.Hour: "1h", 5*time.Hour + 12*time.Minute + 59*time.Second: "5h12m", day: "1d", 3*day + 4*time.Hour: "3d4h", 120 * day: "120d",
	} {
		if got := Age(d); got != want {
			t.Errorf("Age(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 3 << 20: "3.0 MiB", 8 << 30: "8.0 GiB", 2 << 40: "2.0 TiB", 5 << 50: "5120.0 TiB",
	} {
		if got := Bytes(n); got != want {
			t.Errorf("Bytes(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestDiff(t *testing.T) {
	if got := Diff("a", []byte("x\n"), "b", []byte("x\n"), true); got != nil {
		t.Errorf("same texts differ: %q", got)
	}
	got := string(Diff("a", []byte("x\ny\n"), "b", []byte("x\nz\n"), false))
	if want := "--- a\n+++ b\n@@ -1,2 +1,2 @@\n x\n-y\n+z\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	coloured := string(Diff("a", []byte("y\n"), "b", []byte("z\n"), true))
	for _, want := range []string{"\x1b[1m--- a\x1b[0m\n", "\x1b[31m-y\x1b[0m\n", "\x1b[32m+z\x1b[0m\n"} {
		if !strings.Contains(coloured, want) {
			t.Errorf("%q lacks %q", coloured, want)
		}
	}
}

// TestColumns: every kind has a row as long as its header, for a full resource and an empty one.
func TestColumns(t *testing.T) {
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	at := func(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(now.Add(d)) }
	md := &operatorv1.Metadata{Name: "n", Labels: map[string]string{"b": "2", "a": "1"}, CreateTime: at(-time.Minute)}
	full := []*operatorv1.Resource{
		{Kind: &operatorv1.Resource_Host{Host: &operatorv1.Host{
			Metadata: md, Spec: &operatorv1.HostSpec{Subnets: []string{"10.0.0.0/8"}, Endpoints: []string{"192.0.2.1"}},
			Status: &operatorv1.HostStatus{
				Addresses: []string{"100.80.0.1", "fd00::1"}, AgentVersion: "v1", Epoch: "ab", CertificateExpireTime: at(-time.Second),
				Conditions: []*operatorv1.Condition{{Type: "DuplicateIdentity"}},
			},
		}}},
		{Kind: &operatorv1.Resource_Policy{Policy: &operatorv1.Policy{
			Metadata: md, Spec: &operatorv1.PolicySpec{
				Hosts: "*", To: "a=b", Priority: 7, Proposal: "aes128gcm16",
				Lifetime: &operatorv1.PolicyLifetime{RekeyTime: durationpb.New(time.Hour), HardTime: durationpb.New(8 * time.Hour)},
			},
			Status: &operatorv1.PolicyStatus{HostsSelected: 3, PairsWanted: 3, PairsUp: 3},
		}}},
		{Kind: &operatorv1.Resource_JoinToken{JoinToken: &operatorv1.JoinToken{
			Metadata: md, Spec: &operatorv1.JoinTokenSpec{NamePrefix: "w-", MaxUses: 2, ExpireTime: at(time.Hour)},
			Status: &operatorv1.JoinTokenStatus{Uses: []*operatorv1.JoinTokenStatus_Use{{Host: "w-1"}}},
		}}},
		{Kind: &operatorv1.Resource_SecurityAssociation{SecurityAssociation: &operatorv1.SecurityAssociation{
			Metadata: md, Status: &operatorv1.SecurityAssociationStatus{
				Source: "s", Destination: "d", Spi: 0x01000001, Generation: 2, Phase: "inbound", Proposal: "p",
				RekeyTime: at(-time.Second), HardTime: at(time.Hour), Policy: "mesh", Id: "aa",
			},
		}}},
		{Kind: &operatorv1.Resource_Event{Event: &operatorv1.Event{
			Metadata: md, Status: &operatorv1.EventStatus{Time: at(0), Reason: "R", AboutKind: "SecurityAssociation", AboutName: "x", Message: "m"},
		}}},
		{Kind: &operatorv1.Resource_ManualPeer{ManualPeer: &operatorv1.ManualPeer{
			Metadata: md, Spec: &operatorv1.ManualPeerSpec{
				Host: "h", Local: []string{"10.1.0.0/16"}, Remote: []string{"10.2.0.0/16", "10.3.0.0/16"}, Mode: "tunnel", Protocol: "esp",
				Proposal: "aes256-sha256", Esn: proto.Bool(true), Encapsulation: "udp", RemoteAddress: "192.0.2.1:4501",
				Inbound: &operatorv1.ManualAssociation{Spi: 4097}, Outbound: &operatorv1.ManualAssociation{Spi: 8193},
			},
			Status: &operatorv1.ManualPeerStatus{Generation: 2, Id: "aa", Installed: true, Conditions: []*operatorv1.Condition{{Type: "KeysMissing"}}},
		}}},
		{Kind: &operatorv1.Resource_Peer{Peer: &operatorv1.Peer{
			Metadata: md, Spec: &operatorv1.PeerSpec{
				Hosts: []string{"h"}, RemoteAddresses: []string{"192.0.2.1"}, Start: "always",
				Local: &operatorv1.PeerAuthentication{Method: "psk"}, Remote: &operatorv1.PeerAuthentication{Method: "certificate"},
			},
			Status: &operatorv1.PeerStatus{IkeSas: 1, Children: 2, ChildrenUp: 1, RemoteAddress: "192.0.2.1:4500", Exchange: "established"},
		}}},
		{Kind: &operatorv1.Resource_Credential{Credential: &operatorv1.Credential{
			Metadata: md, Spec: &operatorv1.CredentialSpec{Type: "ca", Fingerprint: "ff"},
			Status: &operatorv1.CredentialStatus{Peers: []string{"a", "b"}, Subjects: []string{"CN=x"}, ExpireTime: at(time.Hour)},
		}}},
		{Kind: &operatorv1.Resource_IkeSecurityAssociation{IkeSecurityAssociation: &operatorv1.IKESecurityAssociation{
			Metadata: md, Status: &operatorv1.IKESecurityAssociationStatus{
				Peer: "p", Host: "h", State: "established", RemoteAddress: "192.0.2.1:4500", RemoteId: "gw", Proposal: "q", Initiator: true,
				InitiatorSpi: "01", ResponderSpi: "02", RekeyTime: at(time.Hour), LocalId: "me", LocalAddress: "192.0.2.2:4500",
				Children: []*operatorv1.IKESecurityAssociationStatus_Child{{
					Name: "net", Installed: "inbound", InboundSpi: 1, OutboundSpi: 2, Udp: true, Mode: "tunnel", Proposal: "e",
					Local: []string{"10.1.0.0/16"}, Remote: []string{"10.2.0.0/16"},
				}},
			},
		}}},
	}
	want := map[string]string{
		"Host":                "n|100.80.0.1,fd00::1|no|192.0.2.1|0/0|1m|10.0.0.0/8|v1|ab|ended|a=1,b=2|DuplicateIdentity",
		"Policy":              "n|3|3/3|aes128gcm16|1h|*|a=b|7|8h|1m|a=1,b=2|",
		"JoinToken":           "n|w-*|1/2|1h|1m||w-1",
		"SecurityAssociation": "s|d|0x01000001|2|inbound|p|now|1h|mesh|1m|aa|n",
		"ManualPeer": "n|h|192.0.2.1:4501|esp/aes256-sha256-esn|0x00001001|0x00002001|2|yes|1m|tunnel|udp|10.1.0.0/16 - 10.2.0.0/16,10.3.0.0/16|aa|" +
			"a=1,b=2|KeysMissing",
		"Peer":       "n|h|192.0.2.1|psk/certificate|1|1/2|1m|established|192.0.2.1:4500|always|a=1,b=2|",
		"Credential": "n|ca|CN=x|1h|a,b|1m|ff|a=1,b=2|",
		"IKESecurityAssociation": "p|h|established|192.0.2.1:4500|gw|q|net (inbound)|1h|1m|initiator|192.0.2.2:4500|me|01_i 02_r|" +
			"net: 0x00000001 in, 0x00000002 out, esp-in-udp tunnel, e, 10.1.0.0/16 - 10.2.0.0/16|n",
		"Event": "2026-01-31 12:00:00|Normal|R|sa/x|m|n",
	}
	for _, r := range full {
		kind, _ := resource.Of(r)
		wide := ColumnsOf(kind, true, now)
		row := wide.Row(r)
		var cells []string
		for _, c := range row {
			cells = append(cells, c.Text)
		}
		if got := strings.Join(cells, "|"); got != want[kind.Name] {
			t.Errorf("%s:\n got %s\nwant %s", kind.Name, got, want[kind.Name])
		}
		narrow := ColumnsOf(kind, false, now)
		empty, _, _ := resource.New(kind)
		for _, c := range []Columns{wide, narrow} {
			if len(c.Row(r)) != len(c.Header()) || len(c.Row(empty)) != len(c.Header()) {
				t.Errorf("%s: the header has %d columns, the rows %d and %d", kind.Name, len(c.Header()), len(c.Row(r)), len(c.Row(empty)))
			}
		}
	}
}

func TestJSONIsStable(t *testing.T) {
	m := &operatorv1.GetRequest{Kind: operatorv1.Kind_KIND_HOST, Name: "a"}
	got, err := JSON(m)
	if want := "{\n  \"kind\": \"KIND_HOST\",\n  \"name\": \"a\"\n}\n"; err != nil || string(got) != want {
		t.Errorf("got %q, %v", got, err)
	}
	got, err = JSONLine(m)
	if want := "{\"kind\":\"KIND_HOST\",\"name\":\"a\"}\n"; err != nil || string(got) != want {
		t.Errorf("got %q, %v", got, err)
	}
}
