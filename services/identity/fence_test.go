package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"path/filepath"
	"testing"
	"time"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/protocol/enrol"
	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/store/storetest"
)

// newService makes a service whose view may come from another connection than its store.
func newService(t *testing.T, s, forView *store.Store) *Service {
	t.Helper()
	audit, err := store.OpenAudit(filepath.Join(t.TempDir(), "audit"), nil)
	if err != nil {
		t.Fatal(err)
	}
	view, err := forView.View(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(view.Close)
	service, err := New(t.Context(), Config{Store: s, View: view, Audit: audit, TrustDomain: "fleet.example", Controller: "c1"})
	if err != nil {
		t.Fatal(err)
	}
	return service
}

func testKey(t *testing.T) (*ecdsa.PrivateKey, [32]byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	hash, err := enrol.PublicKeyHash(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return key, hash
}

func putHost(t *testing.T, s *store.Store, name string) string {
	t.Helper()
	key, err := store.SpecKey(store.KindHost, name)
	if err != nil {
		t.Fatal(err)
	}
	put, err := store.PutRecord(key, &operatorv1.Host{Metadata: &operatorv1.Metadata{Name: name, Uid: "0102030405060708"}})
	if err != nil {
		t.Fatal(err)
	}
	commit(t, s, store.Txn{Puts: []store.Put{put}})
	return key
}

func commit(t *testing.T, s *store.Store, txn store.Txn) {
	t.Helper()
	if _, err := s.Commit(t.Context(), txn); err != nil {
		t.Fatal(err)
	}
}

// TestClaimComparesWhatItWasDecidedFrom changes each of those things between the decision and the write.
func TestClaimComparesWhatItWasDecidedFrom(t *testing.T) {
	put := func(key func(*storedToken, hostState) string) func(*storedToken, hostState) store.Txn {
		return func(tok *storedToken, h hostState) store.Txn {
			return store.Txn{Puts: []store.Put{{Key: key(tok, h)}}}
		}
	}
	drop := func(key func(*storedToken, hostState) string) func(*storedToken, hostState) store.Txn {
		return func(tok *storedToken, h hostState) store.Txn { return store.Txn{Deletes: []string{key(tok, h)}} }
	}
	tokenSpec := func(tok *storedToken, _ hostState) string { return tok.keys.spec }
	tokenStatus := func(tok *storedToken, _ hostState) string { return tok.keys.status }
	tokenSecret := func(tok *storedToken, _ hostState) string { return tok.keys.secret }
	hostSpec := func(_ *storedToken, h hostState) string { return h.specKey }
	hostRecord := func(_ *storedToken, h hostState) string { return h.recordKey }
	cases := []struct {
		name   string
		exists bool // the host, before
		change func(*storedToken, hostState) store.Txn
		want   error
	}{
		{"nothing", true, func(*storedToken, hostState) store.Txn { return store.Txn{} }, nil},
		{"nothing, no host", false, func(*storedToken, hostState) store.Txn { return store.Txn{} }, nil},
		{"the host was relabelled", true, put(hostSpec), nil},
		{"the token was changed", true, put(tokenSpec), store.ErrConflict},
		{"the token was deleted", true, drop(tokenSpec), store.ErrConflict},
		{"the token was used", true, put(tokenStatus), store.ErrConflict},
		{"the secret was deleted", true, drop(tokenSecret), store.ErrConflict},
		{"the host was deleted", true, drop(hostSpec), store.ErrConflict},
		{"the host was made", false, put(hostSpec), store.ErrConflict},
		{"another key was recorded", true, put(hostRecord), store.ErrConflict},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			st := storetest.New(t)
			s := newService(t, st, st)
			made, _, err := s.CreateJoinToken(t.Context(), &operatorv1.JoinToken{Spec: &operatorv1.JoinTokenSpec{Host: "web-1"}})
			if err != nil {
				t.Fatal(err)
			}
			if c.exists {
				putHost(t, st, "web-1")
			}
			token, err := s.loadToken(t.Context(), made.Metadata.Name)
			if err != nil {
				t.Fatal(err)
			}
			target, err := s.loadHost(t.Context(), "web-1")
			if err != nil || target.exists() != c.exists {
				t.Fatalf("host %+v, %v", target, err)
			}
			commit(t, st, c.change(token, target))
			_, hash := testKey(t)
			a := application{token: token, host: "web-1", hash: hash}
			record := &controllerv1.HostIdentity{PublicKeyHash: hash[:], TokenId: token.id}
			if err := s.commitClaim(t.Context(), a, token, target, record, time.Now()); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

// TestCertificateOfAnInactiveRoot: a controller whose view is behind a rotation cannot hand out a
// certificate of the root that it believes to be active.
func TestCertificateOfAnInactiveRoot(t *testing.T) {
	st := storetest.New(t)
	linked, link := storetest.Linked(t, st)
	behind, ahead := newService(t, st, linked), newService(t, st, st)
	putHost(t, st, "web-1")
	key, hash := testKey(t)
	uid := []byte{1, 2, 3, 4, 5, 6, 7, 8}
	recordKey, err := store.HostIDKey("web-1")
	if err != nil {
		t.Fatal(err)
	}
	record, err := store.PutRecord(recordKey, &controllerv1.HostIdentity{HostUid: uid, PublicKeyHash: hash[:]})
	if err != nil {
		t.Fatal(err)
	}
	commit(t, st, store.Txn{Puts: []store.Put{record}})

	link.Cut()
	for _, step := range []operatorv1.RotateStep{operatorv1.RotateStep_ROTATE_STEP_PREPARE, operatorv1.RotateStep_ROTATE_STEP_ACTIVATE} {
		if _, err := ahead.RotateCA(t.Context(), &operatorv1.RotateCARequest{Step: step}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := behind.certify(ctx, "web-1", key.Public(), hash, uid); err == nil {
		t.Fatal("a certificate of the old root was issued")
	}
	link.Heal()
	if _, err := behind.certify(t.Context(), "web-1", key.Public(), hash, uid); err != nil {
		t.Fatal(err)
	}
	var after controllerv1.HostIdentity
	if _, err := store.Load(t.Context(), st, recordKey, &after); err != nil || after.GetRootId() != "2" {
		t.Errorf("signed by root %q, %v", after.GetRootId(), err)
	}
}
