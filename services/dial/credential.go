package dial

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"

	"go.yaml.in/yaml/v3"
	"google.golang.org/grpc"

	"sallyport.dev/sallyport/services/atomicfile"
	"sallyport.dev/sallyport/services/protocol/enrol"
	"sallyport.dev/sallyport/services/yamldoc"
)

// maxCredential bounds a credential file, bytes.
const maxCredential = 256 << 10

// Credential is what an operator needs to reach a fleet: one YAML file, mode 0600.
type Credential struct {
	// Server is a controller's address, host:port.
	Server string `yaml:"server"`
	// TrustDomain is the fleet's.
	TrustDomain string `yaml:"trust_domain"`
	// Certificate is the operator's chain, PEM, leaf first.
	Certificate string `yaml:"certificate"`
	// Key is the private key, PKCS#8, PEM.
	Key string `yaml:"key"`
	// TrustBundle is the fleet's roots, PEM.
	TrustBundle string `yaml:"trust_bundle"`
}

// String names the credential without its key.
func (c Credential) String() string {
	return fmt.Sprintf("credential for %s at %s", c.TrustDomain, c.Server)
}

// Format prints String, whatever the verb.
func (c Credential) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// MarshalJSON keeps the key out of logs.
func (c Credential) MarshalJSON() ([]byte, error) { return fmt.Appendf(nil, "%q", c.String()), nil }

// NewCredential makes a credential. Chain and bundle are DER, as IssueOperator returns them.
func NewCredential(server, trustDomain string, key crypto.Signer, chain, bundle [][]byte) (Credential, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Credential{}, fmt.Errorf("private key: %w", err)
	}
	c := Credential{
		Server: server, TrustDomain: trustDomain,
		Certificate: encodePEM("CERTIFICATE", chain...),
		Key:         encodePEM("PRIVATE KEY", der),
		TrustBundle: encodePEM("CERTIFICATE", bundle...),
	}
	_, _, err = c.parse()
	return c, err
}

func encodePEM(kind string, blocks ...[]byte) string {
	var b bytes.Buffer
	for _, der := range blocks {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	return b.String()
}

// LoadCredential reads a credential file. It refuses one that others can read, with an unknown
// field, or with parts that do not belong together.
func LoadCredential(path string) (Credential, error) {
	content, err := readPrivate(path)
	if err != nil {
		return Credential{}, fmt.Errorf("credential: %w", err)
	}
	c, err := decode(content)
	if err != nil {
		return Credential{}, fmt.Errorf("credential %s: %w", path, err)
	}
	if _, _, err := c.parse(); err != nil {
		return Credential{}, fmt.Errorf("credential %s: %w", path, err)
	}
	return c, nil
}

// decode reads the fields. Its errors quote no value, as one is the key.
func decode(content []byte) (Credential, error) {
	root, err := yamldoc.Parse(content, 0)
	if err != nil {
		return Credential{}, err
	}
	if root == nil || yamldoc.TypeOf(root) != yamldoc.Mapping {
		return Credential{}, errors.New("not a YAML document with the fields server, trust_domain, certificate, key and trust_bundle")
	}
	var c Credential
	fields := map[string]*string{
		"server": &c.Server, "trust_domain": &c.TrustDomain, "certificate": &c.Certificate, "key": &c.Key, "trust_bundle": &c.TrustBundle,
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		name, value := root.Content[i], root.Content[i+1]
		field, ok := fields[name.Value]
		if !ok {
			return Credential{}, fmt.Errorf("line %d: unknown field %q", name.Line, name.Value)
		}
		switch yamldoc.TypeOf(value) {
		case yamldoc.List, yamldoc.Mapping, yamldoc.Null:
			return Credential{}, fmt.Errorf("line %d: %s must be text", value.Line, name.Value)
		}
		*field = yamldoc.Value(value).Value
	}
	return c, nil
}

func readPrivate(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", path)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("%s has mode %04o and holds a private key: run chmod 600 %s", path, mode, path)
	}
	content, err := io.ReadAll(io.LimitReader(f, maxCredential+1))
	if err == nil && len(content) > maxCredential {
		err = fmt.Errorf("%s is longer than %d bytes", path, maxCredential)
	}
	return content, err
}

// Save writes the credential to path, mode 0600, whole or not at all.
func (c Credential) Save(path string) error {
	content, err := yaml.Marshal(c)
	if err != nil {
		return fmt.Errorf("credential: %w", err)
	}
	if err := atomicfile.Replace(path, content); err != nil {
		return fmt.Errorf("credential: %w", err)
	}
	return nil
}

// Dial opens a connection to the credential's server.
func (c Credential) Dial() (*grpc.ClientConn, error) {
	certificate, trust, err := c.parse()
	if err != nil {
		return nil, err
	}
	return Member(MemberConfig{
		Addresses:   []string{c.Server},
		Certificate: func() (*tls.Certificate, error) { return certificate, nil },
		Trust:       func() enrol.Trust { return trust },
	})
}

func (c Credential) parse() (*tls.Certificate, enrol.Trust, error) {
	if err := checkAddress(c.Server); err != nil {
		return nil, enrol.Trust{}, fmt.Errorf("server: %w", err)
	}
	if !enrol.ValidTrustDomain(c.TrustDomain) {
		return nil, enrol.Trust{}, fmt.Errorf("trust_domain: %q is none", c.TrustDomain)
	}
	certificate, err := tls.X509KeyPair([]byte(c.Certificate), []byte(c.Key))
	if err != nil {
		return nil, enrol.Trust{}, fmt.Errorf("certificate and key: %w", err)
	}
	roots, err := parseBundle(c.TrustBundle)
	if err != nil {
		return nil, enrol.Trust{}, fmt.Errorf("trust_bundle: %w", err)
	}
	return &certificate, enrol.Trust{Roots: roots, Domain: c.TrustDomain}, nil
}

func parseBundle(text string) ([]*x509.Certificate, error) {
	var roots []*x509.Certificate
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		root, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		roots = append(roots, root)
	}
	if len(roots) == 0 {
		return nil, errors.New("no certificate in it")
	}
	return roots, nil
}
