package identity_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/caller"
	"sallyport.dev/sallyport/services/dial"
	"sallyport.dev/sallyport/services/fault"
	"sallyport.dev/sallyport/services/identity"
	"sallyport.dev/sallyport/services/protocol/enrol"
	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/store/storetest"
)

func TestRenewAfterAWeekend(t *testing.T) {
	c := newController(t)
	a := c.mustEnrol(c.token(bound("web-1")), newKey(t))
	first := parse(t, a.id.CertificateChain...)[0]
	c.clock.advance(12 * time.Hour)
	wantNil(t, "renew at half-life", a.renew())
	c.clock.advance(64 * time.Hour)
	wantReason(t, "sync with an expired certificate", a.sync(), "CERTIFICATE_EXPIRED")
	wantNil(t, "renew with an expired certificate", a.renew())
	wantNil(t, "sync with the new one", a.sync())
	last := parse(t, a.id.CertificateChain...)[0]
	if !last.NotAfter.Equal(c.clock.Now().Add(24*time.Hour)) || last.SerialNumber.Cmp(first.SerialNumber) == 0 {
		t.Errorf("the new certificate ends at %v", last.NotAfter)
	}
}

func TestForeignCertificate(t *testing.T) {
	c, other := newController(t), newController(t)
	a := other.mustEnrol(other.token(bound("web-1")), newKey(t))
	mine := c.mustEnrol(c.token(bound("web-1")), newKey(t))
	a.c, a.id.TrustBundle = c, mine.id.TrustBundle
	wantReason(t, "sync", a.sync(), "CERTIFICATE_FOREIGN")
	wantReason(t, "renew", a.renew(), "CERTIFICATE_FOREIGN")
}

func TestCertificateOfTheFuture(t *testing.T) {
	c := newController(t)
	a := c.mustEnrol(c.token(bound("web-1")), newKey(t))
	c.clock.advance(-time.Hour)
	state := tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true, PeerCertificates: parse(t, a.id.CertificateChain...)}
	_, err := c.Authenticate(t.Context(), state, netip.AddrPort{})
	wantReason(t, "an hour early", err, "CERTIFICATE_EXPIRED")
}

// operator issues a credential and returns it.
func (c *controller) operator(name, role string) dial.Credential {
	c.t.Helper()
	key := newKey(c.t)
	csr, err := enrol.NewRequest(randomReader{}, key)
	if err != nil {
		c.t.Fatal(err)
	}
	r, err := c.IssueOperator(c.t.Context(), &operatorv1.IssueOperatorRequest{Name: name, Role: role, CertificateRequest: csr})
	if err != nil {
		c.t.Fatal(err)
	}
	credential, err := dial.NewCredential(c.address, trustDomain, key, r.CertificateChain, r.TrustBundle)
	if err != nil {
		c.t.Fatal(err)
	}
	return credential
}

// authenticate asks who holds the credential.
func (c *controller) authenticate(credential dial.Credential) (caller.Caller, error) {
	c.t.Helper()
	pair, err := tls.X509KeyPair([]byte(credential.Certificate), []byte(credential.Key))
	if err != nil {
		c.t.Fatal(err)
	}
	state := tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true, PeerCertificates: parse(c.t, pair.Certificate...)}
	return c.Authenticate(c.t.Context(), state, netip.AddrPort{})
}

func TestOperators(t *testing.T) {
	c := newController(t)
	if has, err := c.HasOperators(t.Context()); err != nil || has {
		t.Errorf("operators at the start: %v, %v", has, err)
	}
	for _, role := range []string{"viewer", "operator", "admin"} {
		who, err := c.authenticate(c.operator("o-"+role, role))
		if err != nil || string(who.Role) != role || who.Name != "o-"+role || !c.Valid(who) {
			t.Errorf("%s: %v, %v", role, who, err)
		}
	}
	if has, err := c.HasOperators(t.Context()); err != nil || !has {
		t.Errorf("operators: %v, %v", has, err)
	}

	old := c.operator("ann", "viewer")
	fresh := c.operator("ann", "admin")
	c.settled()
	_, err := c.authenticate(old)
	wantReason(t, "replaced", err, "KEY_REVOKED")
	who, err := c.authenticate(fresh)
	if err != nil || who.Role != caller.RoleAdmin {
		t.Errorf("new role: %v, %v", who, err)
	}
	if !c.Valid(who) {
		t.Error("not valid")
	}
	if err := c.RevokeOperator(t.Context(), "ann"); err != nil {
		t.Fatal(err)
	}
	c.settled()
	if c.Valid(who) {
		t.Error("valid after it was revoked")
	}
	_, err = c.authenticate(fresh)
	wantReason(t, "revoked", err, "KEY_REVOKED")
	if err := c.RevokeOperator(t.Context(), "ann"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("revoked twice: %v", err)
	}
	entries, err := c.audit.Read()
	if err != nil || len(entries) != 2 || entries[0].Kind != store.AuditOperatorRevoked || entries[1].Name != "ann" {
		t.Errorf("audit: %+v, %v", entries, err)
	}

	late := c.operator("bob", "viewer")
	c.clock.advance(91 * 24 * time.Hour)
	_, err = c.authenticate(late)
	wantReason(t, "after 90 days", err, "CERTIFICATE_EXPIRED")
}

func TestOperatorsBadRequests(t *testing.T) {
	c := newController(t)
	csr, err := enrol.NewRequest(randomReader{}, newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]*operatorv1.IssueOperatorRequest{
		"role":                {Name: "ann", Role: "agent", CertificateRequest: csr},
		"name":                {Name: "Ann!", Role: "admin", CertificateRequest: csr},
		"certificate_request": {Name: "ann", Role: "admin", CertificateRequest: csr[1:]},
	} {
		_, err := c.IssueOperator(t.Context(), r)
		f, ok := errors.AsType[*fault.Error](err)
		if !ok || f.Kind() != fault.InvalidArgument || len(f.Fields()) != 1 || f.Fields()[0].Name != name {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestCredentialOnTheWire goes from the file of a viewer to the authorisation table and back.
func TestCredentialOnTheWire(t *testing.T) {
	// The credential's connection believes the system's clock.
	c := startController(t, storetest.New(t), &clock{now: time.Now()}, 1)
	file := t.TempDir() + "/credential"
	if err := c.operator("ann", "viewer").Save(file); err != nil {
		t.Fatal(err)
	}
	credential, err := dial.LoadCredential(file)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := credential.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	resources := operatorv1.NewResourceServiceClient(conn)
	_, err = resources.Get(t.Context(), &operatorv1.GetRequest{Kind: operatorv1.Kind_KIND_HOST, Name: "x"})
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("viewer, Get: %v", err)
	}
	_, err = resources.Delete(t.Context(), &operatorv1.DeleteRequest{Kind: operatorv1.Kind_KIND_HOST, Name: "x"})
	wantReason(t, "viewer, Delete", fault.FromError(err), "ROLE")
	_, err = fleetv1.NewEnrolmentServiceClient(conn).Renew(t.Context(), &fleetv1.RenewRequest{})
	wantReason(t, "viewer, Renew", fault.FromError(err), "ROLE")
}

func TestControllerRole(t *testing.T) {
	c := newController(t)
	cert, err := c.ControllerCertificate()
	if err != nil {
		t.Fatal(err)
	}
	state := tls.ConnectionState{Version: tls.VersionTLS13, PeerCertificates: []*x509.Certificate{cert.Leaf}}
	who, err := c.Authenticate(t.Context(), state, netip.AddrPort{})
	if err != nil || who.Role != caller.RoleController || who.Name != "c1" || !c.Valid(who) {
		t.Errorf("%v, %v", who, err)
	}
	c.clock.advance(25 * time.Hour)
	if c.Valid(who) {
		t.Error("valid when expired")
	}
	_, err = c.Authenticate(t.Context(), state, netip.AddrPort{})
	wantReason(t, "expired", err, "CERTIFICATE_EXPIRED")
	state.Version = tls.VersionTLS12
	if _, err := c.Authenticate(t.Context(), state, netip.AddrPort{}); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("TLS 1.2: %v", err)
	}
	again, err := c.ControllerCertificate()
	if err != nil || again.Leaf.NotAfter.Before(c.clock.Now()) {
		t.Errorf("the controller's certificate was not renewed: %v", err)
	}
}

func (c *controller) rotate(step operatorv1.RotateStep, force bool) ([]*operatorv1.RotateCAResponse_Root, error) {
	r, err := c.RotateCA(c.t.Context(), &operatorv1.RotateCARequest{Step: step, Force: force})
	return r.GetRoots(), err
}

const (
	prepareStep  = operatorv1.RotateStep_ROTATE_STEP_PREPARE
	activateStep = operatorv1.RotateStep_ROTATE_STEP_ACTIVATE
	finishStep   = operatorv1.RotateStep_ROTATE_STEP_FINISH
)

func rootsText(roots []*operatorv1.RotateCAResponse_Root) string {
	var parts []string
	for _, r := range roots {
		text := r.Id
		if r.Active {
			text += "*"
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, " ")
}

func TestRotation(t *testing.T) {
	c := newController(t)
	early := c.token(bound("web-2"))
	a := c.mustEnrol(c.token(bound("web-1")), newKey(t))
	away := &agent{c: c, key: a.key, id: a.id}

	step := func(s operatorv1.RotateStep, want string) {
		t.Helper()
		for range 2 { // each step may be repeated
			roots, err := c.rotate(s, false)
			if err != nil || rootsText(roots) != want {
				t.Fatalf("%v: %s, %v; want %s", s, rootsText(roots), err, want)
			}
		}
	}
	if _, err := c.rotate(activateStep, false); fault.KindOf(err) != fault.FailedPrecondition {
		t.Errorf("activate before prepare: %v", err)
	}
	if _, err := c.rotate(operatorv1.RotateStep_ROTATE_STEP_UNSPECIFIED, false); fault.KindOf(err) != fault.InvalidArgument {
		t.Errorf("no step: %v", err)
	}
	step(finishStep, "1*")
	step(prepareStep, "1* 2")
	if _, err := c.rotate(finishStep, false); fault.KindOf(err) != fault.FailedPrecondition {
		t.Errorf("finish before activate: %v", err)
	}
	step(activateStep, "1 2*")
	if _, err := c.rotate(prepareStep, false); fault.KindOf(err) != fault.FailedPrecondition {
		t.Errorf("prepare before finish: %v", err)
	}

	// A token and a host that know the old root only still find the controller.
	b := c.mustEnrol(early, newKey(t))
	wantNil(t, "a host that was away", away.sync())
	if got := len(b.id.TrustBundle); got != 2 {
		t.Errorf("%d roots in the bundle", got)
	}
	_, err := c.rotate(finishStep, false)
	wantReason(t, "finish while a host holds an old certificate", err, "OLD_CERTIFICATES")
	if err == nil || !strings.Contains(err.Error(), "1 host (web-1) and no operator") {
		t.Errorf("the refusal does not name the host: %v", err)
	}
	wantNil(t, "renew", a.renew())
	old := c.token(bound("web-3"))
	step(finishStep, "2*")
	wantNil(t, "after the rotation", a.sync())
	wantReason(t, "a certificate of the old root", away.sync(), "CERTIFICATE_FOREIGN")
	wantNil(t, "a token of the new root", func() error { _, err := c.enrol(old, newKey(t)); return err }())
	entries, err := c.audit.Read()
	if err != nil || len(entries) != 1 || entries[0].Kind != store.AuditCARevoked || entries[0].Name != "1" {
		t.Errorf("audit: %+v, %v", entries, err)
	}

	// A token of a root that is gone.
	early.RootHash[0] ^= 1
	if _, err := c.enrol(early, newKey(t)); !errors.Is(err, dial.ErrNotTheFleet) {
		t.Errorf("a token of another root: %v", err)
	}
	step(prepareStep, "2* 3")
}

func TestRotationByForce(t *testing.T) {
	c := newController(t)
	a := c.mustEnrol(c.token(bound("web-1")), newKey(t))
	credential := c.operator("ann", "admin")
	for _, s := range []operatorv1.RotateStep{prepareStep, activateStep} {
		if _, err := c.rotate(s, false); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.renew(); err != nil {
		t.Fatal(err)
	}
	_, err := c.rotate(finishStep, false)
	wantReason(t, "while an operator holds an old certificate", err, "OLD_CERTIFICATES")
	if roots, err := c.rotate(finishStep, true); err != nil || rootsText(roots) != "2*" {
		t.Errorf("by force: %s, %v", rootsText(roots), err)
	}
	_, err = c.authenticate(credential)
	wantReason(t, "the operator", err, "CERTIFICATE_FOREIGN")
}

// TestTwoControllers: what one does the other knows, at once where it counts.
func TestTwoControllers(t *testing.T) {
	s := storetest.New(t)
	clk := &clock{now: time.Date(2030, 1, 4, 17, 0, 0, 0, time.UTC)}
	var one, two *controller
	// Both start at the same time on an empty store: one CA comes out.
	one = startController(t, s, clk, 1)
	two = startController(t, storetest.Another(t, s), clk, 1)
	hashOne, err1 := one.RootHash()
	hashTwo, err2 := two.RootHash()
	if err1 != nil || err2 != nil || hashOne != hashTwo {
		t.Fatalf("two CAs: %v, %v", err1, err2)
	}
	for i := range 10 {
		a := one.mustEnrol(one.token(bound(fmt.Sprintf("web-%d", i))), newKey(t))
		a.c = two
		wantNil(t, "at the other controller, at once", a.sync())
	}
}

func TestFirstStartOfManyControllers(t *testing.T) {
	s := storetest.New(t)
	clk := &clock{now: time.Date(2030, 1, 4, 17, 0, 0, 0, time.UTC)}
	audit, err := store.OpenAudit(t.TempDir()+"/audit", clk.Now)
	if err != nil {
		t.Fatal(err)
	}
	hashes := make([][32]byte, 4)
	var wg sync.WaitGroup
	for i := range hashes {
		process := storetest.Another(t, s)
		view, err := process.View(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			service, err := identity.New(t.Context(), identity.Config{
				Store: process, View: view, Audit: audit, TrustDomain: trustDomain, Controller: "c", Now: clk.Now,
			})
			if err != nil {
				t.Error(err)
				return
			}
			hashes[i], err = service.RootHash()
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, h := range hashes {
		if h != hashes[0] || h == ([32]byte{}) {
			t.Errorf("roots differ: %x", hashes)
		}
	}
}

func TestValidAndChanges(t *testing.T) {
	c := newController(t)
	a := c.mustEnrol(c.token(bound("web-1")), newKey(t))
	c.settled()
	state := tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true, PeerCertificates: parse(t, a.id.CertificateChain...)}
	who, err := c.Authenticate(t.Context(), state, netip.MustParseAddrPort("192.0.2.1:1"))
	if err != nil || who.Role != caller.RoleAgent || !c.Valid(who) {
		t.Fatalf("%v, %v", who, err)
	}
	changes := c.Changes()
	defer changes.Close()
	c.mustEnrol(c.token(bound("web-1")), newKey(t))
	batch, err := changes.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if batch.Changes[0].Key != "identity/host/web-1" {
		t.Errorf("change of %s", batch.Changes[0].Key)
	}
	if c.Valid(who) {
		t.Error("the old key is valid still")
	}
	for name, who := range map[string]caller.Caller{
		"nobody":                             {},
		"an agent without TLS":               {Role: caller.RoleAgent, Name: "web-1"},
		"an agent without a certificate":     {Role: caller.RoleAgent, Name: "web-1", TLS: &tls.ConnectionState{}},
		"an agent with another certificate":  {Role: caller.RoleAgent, Name: "web-1", TLS: &state},
		"a local caller that is not local":   {Role: caller.RoleAdmin, Name: "local"},
		"an expired agent that is not":       {Role: caller.RoleAgentExpired, Name: "web-1", TLS: &state, PublicKeyHash: who.PublicKeyHash},
		"an operator with a host's identity": {Role: caller.RoleAdmin, Name: "web-1", TLS: &state, PublicKeyHash: who.PublicKeyHash},
	} {
		if c.Valid(who) {
			t.Errorf("%s is valid", name)
		}
	}
	if !c.Valid(caller.Caller{Role: caller.RoleAdmin, Local: true}) {
		t.Error("the local root is not valid")
	}
}

func TestValidEndsWithTheCertificate(t *testing.T) {
	c := newController(t)
	a := c.mustEnrol(c.token(bound("web-1")), newKey(t))
	c.settled()
	state := tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true, PeerCertificates: parse(t, a.id.CertificateChain...)}
	who, err := c.Authenticate(t.Context(), state, netip.AddrPort{})
	if err != nil {
		t.Fatal(err)
	}
	c.clock.advance(24 * time.Hour)
	if !c.Valid(who) {
		t.Error("not valid in its last second")
	}
	c.clock.advance(time.Second)
	if c.Valid(who) {
		t.Error("valid after its end")
	}
	expired, err := c.Authenticate(t.Context(), state, netip.AddrPort{})
	if err != nil || expired.Role != caller.RoleAgentExpired || !c.Valid(expired) {
		t.Errorf("%v, %v", expired, err)
	}
}

func TestCreateJoinToken(t *testing.T) {
	c := newController(t)
	past := timestamppb.New(c.clock.Now())
	cases := []struct {
		name, field string
		token       *operatorv1.JoinToken
	}{
		{"neither", "spec", &operatorv1.JoinToken{Spec: &operatorv1.JoinTokenSpec{}}},
		{"no spec", "spec", &operatorv1.JoinToken{}},
		{"both", "spec", &operatorv1.JoinToken{Spec: &operatorv1.JoinTokenSpec{Host: "a", NamePrefix: "b"}}},
		{"bound, many uses", "spec.max_uses", &operatorv1.JoinToken{Spec: &operatorv1.JoinTokenSpec{Host: "a", MaxUses: 2}}},
		{"past", "spec.expire_time", &operatorv1.JoinToken{Spec: &operatorv1.JoinTokenSpec{Host: "a", ExpireTime: past}}},
		{"named", "metadata.name", &operatorv1.JoinToken{Metadata: &operatorv1.Metadata{Name: "x"}, Spec: bound("a")}},
	}
	for _, k := range cases {
		_, _, err := c.CreateJoinToken(t.Context(), k.token)
		f, ok := errors.AsType[*fault.Error](err)
		if !ok || f.Kind() != fault.InvalidArgument || f.Fields()[0].Name != k.field {
			t.Errorf("%s: %v", k.name, err)
		}
	}
	made, text, err := c.CreateJoinToken(t.Context(), &operatorv1.JoinToken{Metadata: &operatorv1.Metadata{Labels: map[string]string{"a": "b"}}, Spec: bound("web-1")})
	if err != nil {
		t.Fatal(err)
	}
	token, err := enrol.ParseToken(text)
	if err != nil || made.Metadata.Name != token.ID || made.Metadata.Revision == 0 || len(made.Metadata.Uid) != 16 ||
		made.Metadata.Labels["a"] != "b" || made.Spec.MaxUses != 1 || !made.Spec.ExpireTime.AsTime().Equal(c.clock.Now().Add(24*time.Hour)) {
		t.Errorf("made %v, %v", made, err)
	}
	// Nothing of the secret lies in the store in clear.
	kvs, _, err := c.store.List(t.Context(), "", store.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range kvs {
		if strings.Contains(string(kv.Value), string(token.Secret[:])) || strings.Contains(string(kv.Value), strings.Split(text, ".")[2]) {
			t.Errorf("%s holds the secret", kv.Key)
		}
	}
}

func TestCAKeyIsSealed(t *testing.T) {
	c := newController(t)
	kvs, _, err := c.store.List(t.Context(), store.CAPrefix, store.ListOptions{})
	if err != nil || len(kvs) != 1 {
		t.Fatalf("%d roots, %v", len(kvs), err)
	}
	// The object identifier of EC private keys in PKCS#8 stands once: in the certificate.
	const ecPublicKey = "\x2a\x86\x48\xce\x3d\x02\x01"
	if n := strings.Count(string(kvs[0].Value), ecPublicKey); n != 1 {
		t.Errorf("%d keys in clear", n)
	}
}

func TestStoreDown(t *testing.T) {
	s := storetest.New(t)
	linked, link := storetest.Linked(t, s)
	impatient, err := store.Open(t.Context(), store.Config{
		Endpoints: linked.Endpoints(), Prefix: s.Prefix(), Keys: s.Keys(), OpTimeout: 500 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { impatient.Close() })
	c := startController(t, impatient, &clock{now: time.Date(2030, 1, 4, 17, 0, 0, 0, time.UTC)}, 1)
	a := c.mustEnrol(c.token(bound("web-1")), newKey(t))
	c.settled()
	link.Cut()
	ctx := t.Context()
	state := tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true, PeerCertificates: parse(t, a.id.CertificateChain...)}
	if _, err := c.Authenticate(ctx, state, netip.AddrPort{}); err != nil {
		t.Errorf("a host that the view knows: %v", err)
	}
	_, _, err = c.CreateJoinToken(ctx, &operatorv1.JoinToken{Spec: bound("web-2")})
	if !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("create a token: %v", err)
	}
	link.Heal()
}
