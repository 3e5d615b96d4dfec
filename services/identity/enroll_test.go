package identity_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/caller"
	"sallyport.dev/sallyport/services/dial"
	"sallyport.dev/sallyport/services/fault"
	"sallyport.dev/sallyport/services/protocol/enrol"
	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/store/storetest"
)

func TestEnrolBound(t *testing.T) {
	c := newController(t)
	token := c.token(bound("web-1"))
	a := c.mustEnrol(token, newKey(t))
	leaf := parse(t, a.id.CertificateChain...)[0]
	if name, err := enrol.NameOf(leaf); err != nil || name.String() != "spiffe://fleet.example/host/web-1" || a.id.Host != "web-1" {
		t.Errorf("name is %v, %v", name, err)
	}
	if got := leaf.NotAfter.Sub(c.clock.Now()); got != 24*time.Hour {
		t.Errorf("the certificate lives %v", got)
	}
	if !leaf.NotBefore.Before(c.clock.Now()) {
		t.Error("the certificate is not backdated")
	}
	if len(leaf.ExtKeyUsage) != 1 || leaf.ExtKeyUsage[0] != x509.ExtKeyUsageClientAuth {
		t.Errorf("extended key usage %v", leaf.ExtKeyUsage)
	}
	if at := a.id.RenewAt.AsTime(); !at.Before(c.clock.Now().Add(12*time.Hour)) || at.Before(c.clock.Now().Add(11*time.Hour)) {
		t.Errorf("renew at %v", at)
	}
	wantNil(t, "sync", a.sync())
	if !c.events.has("HostJoined", "Host/web-1", token.ID) {
		t.Errorf("events: %q", c.events.seen)
	}
}

func TestEnrolByPrefix(t *testing.T) {
	c := newController(t)
	token := c.token(prefix("web-", 2))
	one, two := c.mustEnrol(token, newKey(t)), c.mustEnrol(token, newKey(t))
	if one.id.Host == two.id.Host {
		t.Errorf("two keys have one name, %s", one.id.Host)
	}
	for _, a := range []*agent{one, two} {
		if rest, ok := strings.CutPrefix(a.id.Host, "web-"); !ok || len(rest) != 8 {
			t.Errorf("name %q", a.id.Host)
		}
		wantNil(t, "sync", a.sync())
		var host operatorv1.Host
		key, _ := store.SpecKey(store.KindHost, a.id.Host)
		if _, err := store.Load(t.Context(), c.store, key, &host); err != nil || host.Metadata.Labels["role"] != "web" {
			t.Errorf("host %v, %v", &host, err)
		}
	}
	_, err := c.enrol(token, newKey(t))
	wantReason(t, "third host", err, "TOKEN_REFUSED")
	if !c.events.has("JoinTokenRefused", token.ID, "used up") {
		t.Errorf("events: %q", c.events.seen)
	}
}

func TestLostReplyBurnsNothing(t *testing.T) {
	for _, spec := range []*operatorv1.JoinTokenSpec{bound("web-1"), prefix("web-", 1)} {
		c := newController(t)
		token, key := c.token(spec), newKey(t)
		first := c.mustEnrol(token, key)
		again := c.mustEnrol(token, key)
		if first.id.Host != again.id.Host {
			t.Errorf("names %s and %s", first.id.Host, again.id.Host)
		}
		wantNil(t, "sync with the first certificate", first.sync())
		wantNil(t, "sync with the second", again.sync())
		var s operatorv1.JoinTokenStatus
		statusKey, _ := store.StatusKey(store.KindJoinToken, token.ID)
		if _, err := store.Load(t.Context(), c.store, statusKey, &s); err != nil || s.UseCount != 1 || len(s.Uses) != 1 {
			t.Errorf("status %v, %v", &s, err)
		}
		_, err := c.enrol(token, newKey(t))
		wantReason(t, "another key", err, "TOKEN_REFUSED")
	}
}

func TestEnrolmentThatBrokeOffIsFinished(t *testing.T) {
	for _, spec := range []*operatorv1.JoinTokenSpec{bound("web-1"), prefix("web-", 1)} {
		c := newController(t)
		token, key := c.token(spec), newKey(t)
		full := fault.New(fault.Exhausted, "the address pool is full").WithReason("POOL_FULL")
		c.hosts.setFail(full)
		_, err := c.enrol(token, key)
		wantReason(t, "no address", err, "POOL_FULL")
		_, err = c.enrol(token, newKey(t))
		wantReason(t, "the name is reserved for the first key", err, "TOKEN_REFUSED")
		c.hosts.setFail(nil)
		a := c.mustEnrol(token, key)
		wantNil(t, "sync", a.sync())
		if c.hosts.made != 1 {
			t.Errorf("%d hosts made", c.hosts.made)
		}
	}
}

func TestTokenMisuse(t *testing.T) {
	c := newController(t)
	good := c.token(bound("web-1"))
	other := c.token(bound("web-2"))
	wrongSecret, unknown := good, good
	wrongSecret.Secret[0] ^= 1
	unknown.ID = "aaaaaaaaaaaaaaaa"
	mixed := other
	mixed.Secret = good.Secret
	old := c.token(&operatorv1.JoinTokenSpec{Host: "web-3", ExpireTime: timestamppb.New(c.clock.Now().Add(time.Hour))})
	deleted := c.token(bound("web-4"))
	secretKey, _ := store.TokenKey(deleted.ID)
	c.delete(secretKey)
	c.clock.advance(time.Hour)

	var said []string
	for name, token := range map[string]enrol.Token{
		"wrong secret": wrongSecret, "unknown": unknown, "the secret of another token": mixed,
		"expired": old, "deleted": deleted,
	} {
		_, err := c.enrol(token, newKey(t))
		wantReason(t, name, err, "TOKEN_REFUSED")
		if err != nil {
			said = append(said, err.Error())
		}
	}
	for _, text := range said {
		if text != said[0] {
			t.Errorf("answers differ: %q and %q", text, said[0])
		}
	}
	if !strings.Contains(said[0], "sallyport join-token create") {
		t.Errorf("the answer does not say what to do: %q", said[0])
	}
	if !c.events.has("JoinTokenRefused", good.ID, "secret is wrong") || !c.events.has("JoinTokenRefused", old.ID, "expired") {
		t.Errorf("events: %q", c.events.seen)
	}
	wantNil(t, "the good token after all", func() error { _, err := c.enrol(good, newKey(t)); return err }())
}

func TestTokenOfAnotherIncarnationIsVoid(t *testing.T) {
	c := newController(t)
	token := c.token(bound("web-1"))
	restored := startController(t, storetest.Another(t, c.store), c.clock, 2)
	_, err := restored.enrol(token, newKey(t))
	wantReason(t, "after a restore", err, "TOKEN_REFUSED")
	if !restored.events.has("restored") {
		t.Errorf("events: %q", restored.events.seen)
	}
}

func TestPrefixTokenTakesNoExistingName(t *testing.T) {
	c := newController(t)
	key := newKey(t)
	first := c.mustEnrol(c.token(prefix("web-", 1)), key)
	// The same key gets the same name from another token of that prefix: it exists already.
	_, err := c.enrol(c.token(prefix("web-", 1)), key)
	wantReason(t, "name of another enrolment", err, "NAME_TAKEN")
	wantNil(t, "the first is not touched", first.sync())

	// A host that an operator made, without a key so far.
	recordKey, _ := store.HostIDKey(first.id.Host)
	c.delete(recordKey)
	_, err = c.enrol(c.token(prefix("web-", 1)), key)
	wantReason(t, "name of an operator's host", err, "NAME_TAKEN")
}

func TestBoundTokenReplacesTheKey(t *testing.T) {
	c := newController(t)
	old := c.mustEnrol(c.token(bound("web-1")), newKey(t))
	var record controllerv1.HostIdentity
	recordKey, _ := store.HostIDKey("web-1")
	if _, err := store.Load(t.Context(), c.store, recordKey, &record); err != nil {
		t.Fatal(err)
	}
	uid := string(record.HostUid)
	fresh := c.mustEnrol(c.token(bound("web-1")), newKey(t))
	c.settled()
	wantReason(t, "old key, sync", old.sync(), "KEY_REVOKED")
	wantReason(t, "old key, renew", old.renew(), "KEY_REVOKED")
	wantNil(t, "new key, sync", fresh.sync())
	if _, err := store.Load(t.Context(), c.store, recordKey, &record); err != nil || string(record.HostUid) != uid {
		t.Errorf("the host became another one: %v", err)
	}
	if !c.events.has("HostKeyReplaced", "web-1") {
		t.Errorf("events: %q", c.events.seen)
	}
	entries, err := c.audit.Read()
	if err != nil || len(entries) != 1 || entries[0].Kind != store.AuditHostKeyRevoked || entries[0].Name != "web-1" {
		t.Errorf("audit: %+v, %v", entries, err)
	}
}

func TestUsedTokenOfAReplacedKeyIsRefused(t *testing.T) {
	c := newController(t)
	token, key := c.token(bound("web-1")), newKey(t)
	c.mustEnrol(token, key)
	c.mustEnrol(c.token(bound("web-1")), newKey(t))
	_, err := c.enrol(token, key)
	wantReason(t, "the revoked key with its own token", err, "TOKEN_REFUSED")
}

func TestConcurrentUsesOfOneToken(t *testing.T) {
	c := newController(t)
	token := c.token(prefix("web-", 3))
	results := make([]error, 6)
	var wg sync.WaitGroup
	for i := range results {
		key := newKey(t)
		wg.Go(func() { _, results[i] = c.enrol(token, key) })
	}
	wg.Wait()
	good := 0
	for _, err := range results {
		if err == nil {
			good++
			continue
		}
		wantReason(t, "one too many", err, "TOKEN_REFUSED")
	}
	if good != 3 {
		t.Errorf("%d hosts joined with a token for 3: %v", good, results)
	}
}

// TestProofIsWorthNothingElsewhere replays a proof on another connection, as somebody who saw it could.
func TestProofIsWorthNothingElsewhere(t *testing.T) {
	c := newController(t)
	token := c.token(bound("web-1"))
	key := newKey(t)
	csr, err := enrol.NewRequest(strings.NewReader(strings.Repeat("x", 4096)), key)
	if err != nil {
		t.Fatal(err)
	}
	exporterOf := func() (*tls.ConnectionState, []byte) {
		conn, err := tls.Dial("tcp", c.address, enrol.PinnedConfig(token.RootHash, c.clock.Now))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		cs := conn.ConnectionState()
		exporter, err := enrol.Exporter(&cs)
		if err != nil {
			t.Fatal(err)
		}
		return &cs, exporter
	}
	mine, exporter := exporterOf()
	other, _ := exporterOf()
	proof := enrol.Prove(token.Secret, exporter, csr)
	request := &fleetv1.EnrollRequest{TokenId: token.ID, CertificateRequest: csr, Proof: proof[:]}
	call := func(cs *tls.ConnectionState) error {
		ctx := caller.NewContext(t.Context(), caller.Caller{Role: caller.RoleAnyone, TLS: cs})
		_, err := c.Enroll(ctx, request)
		return err
	}
	wantReason(t, "on another connection", call(other), "TOKEN_REFUSED")
	wantNil(t, "on its own connection", call(mine))
	request.CertificateRequest, err = enrol.NewRequest(strings.NewReader(strings.Repeat("y", 4096)), newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	wantReason(t, "with another key", call(mine), "TOKEN_REFUSED")
	if err := call(nil); fault.KindOf(err) != fault.FailedPrecondition {
		t.Errorf("on the unix socket: %v", err)
	}
}

// TestManInTheMiddle: a controller of another fleet gets a TLS handshake and nothing else.
func TestManInTheMiddle(t *testing.T) {
	c, evil := newController(t), newController(t)
	token := c.token(bound("web-1"))
	cert, err := evil.ControllerCertificate()
	if err != nil {
		t.Fatal(err)
	}
	genuine, err := c.TrustBundle()
	if err != nil {
		t.Fatal(err)
	}
	shown := *cert
	shown.Certificate = append(append([][]byte{}, cert.Certificate...), genuine...)
	for name, cert := range map[string]*tls.Certificate{"its own root": cert, "the genuine root beside": &shown} {
		t.Run(name, func(t *testing.T) {
			l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{*cert}, NextProtos: []string{"h2"}})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			got := make(chan int, 1)
			go func() {
				conn, err := l.Accept()
				if err != nil {
					got <- -1
					return
				}
				defer conn.Close()
				n, _ := conn.Read(make([]byte, 1))
				got <- n
			}()
			_, err = dial.Enroll(t.Context(), dial.EnrollConfig{Address: l.Addr().String(), Token: token, Key: newKey(t), Now: c.clock.Now})
			if !errors.Is(err, dial.ErrNotTheFleet) {
				t.Errorf("got %v", err)
			}
			if n := <-got; n != 0 {
				t.Errorf("%d bytes of application data were sent", n)
			}
		})
	}
}

func TestEnrolWithoutAController(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	_, err = dial.Enroll(t.Context(), dial.EnrollConfig{Address: address, Key: newKey(t)})
	if err == nil || !strings.Contains(err.Error(), address) {
		t.Errorf("got %v", err)
	}
	if _, err := dial.Enroll(t.Context(), dial.EnrollConfig{Address: "controller", Key: newKey(t)}); err == nil {
		t.Error("an address without a port was accepted")
	}
}

func TestWrongTokensAreLimited(t *testing.T) {
	c := newController(t)
	good := c.token(bound("web-1"))
	wrong := good
	wrong.Secret[0] ^= 1
	key := newKey(t)
	for i := range 10 {
		_, err := c.enrol(wrong, key)
		wantReason(t, "attempt "+string(rune('0'+i)), err, "TOKEN_REFUSED")
	}
	_, err := c.enrol(wrong, key)
	wantReason(t, "one too many", err, "TOO_MANY_ATTEMPTS")
	_, err = c.enrol(good, key)
	wantReason(t, "the good one, too soon", err, "TOO_MANY_ATTEMPTS")
	c.clock.advance(6 * time.Second)
	for range 3 {
		wantNil(t, "the good one costs no attempt", func() error { _, err := c.enrol(good, key); return err }())
	}
}

func TestEnrolBadRequest(t *testing.T) {
	c := newController(t)
	token := c.token(bound("web-1"))
	conn, err := tls.Dial("tcp", c.address, enrol.PinnedConfig(token.RootHash, c.clock.Now))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	cs := conn.ConnectionState()
	ctx := caller.NewContext(t.Context(), caller.Caller{Role: caller.RoleAnyone, TLS: &cs})
	_, err = c.Enroll(ctx, &fleetv1.EnrollRequest{TokenId: token.ID, CertificateRequest: make([]byte, 64), Proof: make([]byte, 32)})
	wantReason(t, "no request", err, "BAD_CERTIFICATE_REQUEST")
}

func TestSyncWithoutACertificate(t *testing.T) {
	c := newController(t)
	token := c.token(bound("web-1"))
	a := &agent{c: c, key: newKey(t), id: &fleetv1.Identity{}}
	bundle, err := c.TrustBundle()
	if err != nil {
		t.Fatal(err)
	}
	a.id.TrustBundle = bundle
	_ = token
	wantReason(t, "sync", a.sync(), "CERTIFICATE_REQUIRED")
}

func TestRemovedHost(t *testing.T) {
	c := newController(t)
	a := c.mustEnrol(c.token(bound("web-1")), newKey(t))
	conn := a.conn()
	recordKey, _ := store.HostIDKey("web-1")
	specKey, _ := store.SpecKey(store.KindHost, "web-1")
	c.delete(recordKey, specKey)
	c.settled()
	wantReason(t, "sync", a.sync(), "HOST_REMOVED")
	wantReason(t, "renew", a.renew(), "HOST_REMOVED")
	_, err := fleetv1.NewEnrolmentServiceClient(conn).Renew(t.Context(), &fleetv1.RenewRequest{})
	if status.Code(err) != codes.PermissionDenied {
		t.Errorf("on an open connection: %v", err)
	}
	// A host of the same name that was made again is another host.
	if _, err := c.hosts.EnsureHost(t.Context(), "web-1", nil); err != nil {
		t.Fatal(err)
	}
	c.settled()
	wantReason(t, "made again", a.sync(), "HOST_REMOVED")
}

// TestHostMadeAgain: the record of a key outlives its host only through somebody's mistake, and then
// it is worth nothing for another host of that name.
func TestHostMadeAgain(t *testing.T) {
	c := newController(t)
	a := c.mustEnrol(c.token(bound("web-1")), newKey(t))
	specKey, _ := store.SpecKey(store.KindHost, "web-1")
	c.delete(specKey)
	if _, err := c.hosts.EnsureHost(t.Context(), "web-1", nil); err != nil {
		t.Fatal(err)
	}
	c.settled()
	wantReason(t, "sync", a.sync(), "HOST_REMOVED")
	wantReason(t, "renew", a.renew(), "HOST_REMOVED")
}
