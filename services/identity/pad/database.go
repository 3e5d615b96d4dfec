package pad

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"

	"sallyport.dev/sallyport/services/identity/pad/ipseckey"
	"sallyport.dev/sallyport/services/identity/pad/revocation"
)

// ErrConfig: entries or authorities make no database.
var ErrConfig = errors.New("pad: bad configuration")

// KeyResolver finds the keys that DNS has for an owner; *ipseckey.Resolver does.
type KeyResolver interface {
	Lookup(ctx context.Context, owner string) (ipseckey.Answer, error)
}

// RevocationChecker says whether a chain has been revoked; *revocation.Checker does.
type RevocationChecker interface {
	Check(ctx context.Context, q revocation.Query) (notes []string, err error)
}

// Config makes a Database. Resolver and Revocation outlive it: what they remember stays when entries change.
type Config struct {
	Authorities []Authority
	Entries     []Entry
	// Resolver is needed by entries that accept IPSECKEY.
	Resolver KeyResolver
	// Revocation is needed by entries that accept certificates.
	Revocation RevocationChecker
}

// Database is the PAD. It does not change: a new one is made when an entry changes. It is safe for concurrent
// use.
type Database struct {
	entries    []*entry
	resolver   KeyResolver
	revocation RevocationChecker
	dummy      Secret // stands in where there is no secret to verify with
}

// entry is an Entry with what is made of it once.
type entry struct {
	Entry
	local                Pattern // Local.ID
	roots, intermediates *x509.CertPool
	anchors              []*x509.Certificate
	crls                 []*revocation.CRL
}

// New returns the database. Errors: ErrConfig, which names the entries and says what to change.
func New(c Config) (*Database, error) {
	d := &Database{resolver: c.Resolver, revocation: c.Revocation}
	raw := make([]byte, 32)
	if _, err := rand.Read(raw); err != nil {
		return nil, err
	}
	d.dummy = Secret{raw}
	authorities := map[string]Authority{}
	for _, a := range c.Authorities {
		if err := a.check(); err != nil {
			return nil, fmt.Errorf("%w: authority %q: %w", ErrConfig, a.Name, err)
		}
		if _, twice := authorities[a.Name]; twice {
			return nil, fmt.Errorf("%w: authority %q is there twice", ErrConfig, a.Name)
		}
		authorities[a.Name] = a
	}
	for _, e := range c.Entries {
		made, err := d.newEntry(e, authorities)
		if err != nil {
			return nil, fmt.Errorf("%w: peer %q: %w", ErrConfig, e.Name, err)
		}
		for _, other := range d.entries {
			if err := made.clash(other); err != nil {
				return nil, fmt.Errorf("%w: %w", ErrConfig, err)
			}
		}
		d.entries = append(d.entries, made)
	}
	return d, d.isolateNull()
}

// Lookup returns the entry of that name.
func (d *Database) Lookup(name string) (Entry, bool) {
	if e := d.find(name); e != nil {
		return e.Entry, true
	}
	return Entry{}, false
}

func (d *Database) find(name string) *entry {
	for _, e := range d.entries {
		if e.Name == name {
			return e
		}
	}
	return nil
}

func (d *Database) newEntry(e Entry, authorities map[string]Authority) (*entry, error) {
	made := &entry{Entry: e}
	var err error
	if made.local, err = exactly(e.Local.ID); err != nil {
		return nil, fmt.Errorf("our identity: %w", err)
	}
	if err := e.check(d); err != nil {
		return nil, err
	}
	if e.Remote.exact() && e.Remote.equal(made.local) && !e.Remote.isNull() {
		return nil, fmt.Errorf("the peer and we have the same identity %s", e.Remote)
	}
	if e.Accept.Certificate != nil {
		return made, made.trust(*e.Accept.Certificate, authorities)
	}
	return made, nil
}

// trust gathers the authorities that the policy names.
func (e *entry) trust(p CertificatePolicy, authorities map[string]Authority) error {
	e.roots, e.intermediates = x509.NewCertPool(), x509.NewCertPool()
	for _, name := range p.Authorities {
		a, ok := authorities[name]
		if !ok {
			return fmt.Errorf("there is no authority %q", name)
		}
		e.anchors = append(e.anchors, a.Certificates...)
		e.crls = append(e.crls, a.CRLs...)
		for _, c := range a.Certificates {
			e.roots.AddCert(c)
		}
		for _, c := range a.Intermediates {
			e.intermediates.AddCert(c)
		}
	}
	return nil
}
