package peerconf

import (
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
)

func peer() *operatorv1.Peer {
	life := &operatorv1.PeerLifetime{RekeyTime: durationpb.New(time.Hour)}
	return &operatorv1.Peer{Metadata: &operatorv1.Metadata{Name: "office"}, Spec: &operatorv1.PeerSpec{
		Hosts: []string{"gw"}, RemoteAddresses: []string{"198.51.100.7"}, Start: "always", DpdInterval: durationpb.New(30 * time.Second),
		Local:     &operatorv1.PeerAuthentication{Id: "gw.example.org", Method: "psk", Credential: "office-psk"},
		Remote:    &operatorv1.PeerAuthentication{Method: "psk", Credential: "office-psk"},
		Proposals: []string{"aes256gcm16-prfsha384-x25519", "aes256-sha256-modp2048"}, Lifetime: life,
		Children: []*operatorv1.PeerChild{{
			Name: "net", Local: []string{"10.1.0.0/16"}, Remote: []string{"any4", "10.2.0.0/24 tcp/443"}, Mode: "tunnel",
			Proposals: []string{"aes256gcm16-x25519"}, Lifetime: life,
		}},
	}}
}

func TestSwanctl(t *testing.T) {
	text, err := Write("swanctl", peer(), "192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"local_addrs = 198.51.100.7\n", "remote_addrs = 192.0.2.1\n", "id = 198.51.100.7\n", "id = gw.example.org\n",
		"proposals = aes256gcm16-prfsha384-x25519,aes256-sha256-modp2048\n", "local_ts = 0.0.0.0/0,10.2.0.0/24[tcp/443]\n",
		"remote_ts = 10.1.0.0/16\n", "start_action = none\n", "secret = \n", "rekey_time = 3600s\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	if strings.Count(text, "{") != strings.Count(text, "}") {
		t.Errorf("braces do not match in\n%s", text)
	}
}

func TestIPsecConf(t *testing.T) {
	p := peer()
	p.Spec.Start, p.Spec.Local.Method, p.Spec.RemoteAddresses = "never", "certificate", []string{"any"}
	text, err := Write("ipsec.conf", p, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"conn office\n", "\tleft=%any\n", "\tright=%any\n", "\trightid=gw.example.org\n", "\trightauth=pubkey\n", "\tauto=start\n",
		"conn office-net\n\talso=office\n", "# the address of host gw is not known", `%any gw.example.org : PSK "..."`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
}

func TestUnknownFormat(t *testing.T) {
	if _, err := Write("racoon", peer(), ""); !errors.Is(err, ErrFormat) {
		t.Error(err)
	}
}
