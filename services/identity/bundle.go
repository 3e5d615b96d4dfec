package identity

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strconv"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	"sallyport.dev/sallyport/services/store"
)

// maxRoots bounds the trust bundle.
const maxRoots = 16

// errNoCA says that there is no active root, which New makes impossible but for a damaged store.
var errNoCA = errors.New("identity: the fleet has no active CA")

// root is one root of the fleet.
type root struct {
	id       string // decimal; a newer root has a higher one
	key      string // in the store
	revision int64
	active   bool
	cert     *x509.Certificate
	cross    *x509.Certificate // nil for the first root
	sealed   []byte
}

func (r *root) hash() [sha256.Size]byte { return sha256.Sum256(r.cert.RawSubjectPublicKeyInfo) }

// record is what the store holds for the root.
func (r *root) record() *controllerv1.CertificateAuthority {
	ca := &controllerv1.CertificateAuthority{Certificate: r.cert.Raw, SealedPrivateKey: r.sealed, Active: r.active}
	if r.cross != nil {
		ca.CrossCertificate = r.cross.Raw
	}
	return ca
}

// signer opens the root's private key.
func (r *root) signer(s *store.Store) (crypto.Signer, error) {
	der, err := s.Unseal(r.key, r.sealed)
	if err != nil {
		return nil, fmt.Errorf("identity: private key of root %s: %w", r.id, err)
	}
	defer clear(der)
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("identity: private key of root %s: %w", r.id, err)
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok || !ec.PublicKey.Equal(r.cert.PublicKey) {
		return nil, fmt.Errorf("identity: the private key of root %s is not that of its certificate", r.id)
	}
	return ec, nil
}

// bundle is all roots as of one moment. It is immutable.
type bundle struct {
	records []store.KV // what it was made from
	roots   []*root    // oldest first
	active  *root
}

func (b *bundle) certificates() []*x509.Certificate {
	certs := make([]*x509.Certificate, len(b.roots))
	for i, r := range b.roots {
		certs[i] = r.cert
	}
	return certs
}

func (b *bundle) der() [][]byte {
	der := make([][]byte, len(b.roots))
	for i, r := range b.roots {
		der[i] = r.cert.Raw
	}
	return der
}

// madeFrom reports whether the records are those that the bundle was made from.
func (b *bundle) madeFrom(records []store.KV) bool {
	return slices.EqualFunc(b.records, records, func(x, y store.KV) bool {
		return x.Key == y.Key && x.ModRevision == y.ModRevision
	})
}

// current returns the roots as the view has them.
func (s *Service) current() (*bundle, error) {
	var records []store.KV
	s.view.Range(store.CAPrefix, func(kv store.KV) bool {
		records = append(records, kv)
		return true
	})
	if b := s.bundle.Load(); b != nil && b.madeFrom(records) {
		return b, nil
	}
	b, err := newBundle(records)
	if err != nil {
		return nil, err
	}
	if b.active == nil {
		return nil, errNoCA
	}
	s.bundle.Store(b)
	return b, nil
}

// listed returns the roots as the store has them, read linearizably. There may be none.
func (s *Service) listed(ctx context.Context) (*bundle, error) {
	records, _, err := s.store.List(ctx, store.CAPrefix, store.ListOptions{})
	if err != nil {
		return nil, err
	}
	return newBundle(records)
}

func newBundle(records []store.KV) (*bundle, error) {
	if len(records) > maxRoots {
		return nil, fmt.Errorf("identity: %d roots, at most %d", len(records), maxRoots)
	}
	b := &bundle{records: records}
	for _, kv := range records {
		r, err := parseRoot(kv)
		if err != nil {
			return nil, err
		}
		b.roots = append(b.roots, r)
		if r.active && b.active != nil {
			return nil, fmt.Errorf("identity: the roots %s and %s are both active", b.active.id, r.id)
		}
		if r.active {
			b.active = r
		}
	}
	slices.SortFunc(b.roots, func(x, y *root) int { return number(x.id) - number(y.id) })
	return b, nil
}

func parseRoot(kv store.KV) (*root, error) {
	id, err := store.ParseName(store.CAPrefix, kv.Key)
	if err != nil {
		return nil, err
	}
	if number(id) == 0 {
		return nil, fmt.Errorf("identity: %s is not the key of a root", kv.Key)
	}
	var record controllerv1.CertificateAuthority
	if err := store.Decode(kv, &record); err != nil {
		return nil, err
	}
	r := &root{id: id, key: kv.Key, revision: kv.ModRevision, active: record.GetActive(), sealed: record.GetSealedPrivateKey()}
	if r.cert, err = x509.ParseCertificate(record.GetCertificate()); err != nil {
		return nil, fmt.Errorf("identity: root %s: %w", id, err)
	}
	if der := record.GetCrossCertificate(); len(der) > 0 {
		if r.cross, err = x509.ParseCertificate(der); err != nil {
			return nil, fmt.Errorf("identity: cross certificate of root %s: %w", id, err)
		}
		if !bytes.Equal(r.cross.RawSubjectPublicKeyInfo, r.cert.RawSubjectPublicKeyInfo) {
			return nil, fmt.Errorf("identity: the cross certificate of root %s has another key", id)
		}
	}
	return r, nil
}

// number is the number of a root, 0 when id is not one.
func number(id string) int {
	n, err := strconv.ParseUint(id, 10, 31)
	if err != nil || strconv.FormatUint(n, 10) != id {
		return 0
	}
	return int(n)
}

// TrustBundle returns every root of the fleet, DER, oldest first.
func (s *Service) TrustBundle() ([][]byte, error) {
	b, err := s.current()
	if err != nil {
		return nil, err
	}
	return b.der(), nil
}

// RootHash returns the SHA-256 of the active root's SubjectPublicKeyInfo, as join tokens carry it.
func (s *Service) RootHash() ([sha256.Size]byte, error) {
	b, err := s.current()
	if err != nil {
		return [sha256.Size]byte{}, err
	}
	return b.active.hash(), nil
}
