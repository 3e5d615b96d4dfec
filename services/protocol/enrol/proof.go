package enrol

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
)

// ExporterLabel is the label of the TLS exporter that ties a proof to its connection (RFC 5705
// section 4; RFC 8446 section 7.5). The context is absent.
const ExporterLabel = "EXPORTER-sallyport-enrol"

// exporterLen is the length of the exported value, bytes.
const exporterLen = 32

// proofLabel keeps this HMAC apart from any other that the secret may ever key.
const proofLabel = "sallyport enrolment proof 1\x00"

// ErrExporter means that a connection has no exporter to tie a proof to: it is not TLS 1.3.
var ErrExporter = errors.New("the connection has no TLS 1.3 exporter")

// Exporter returns the value that both ends of a TLS 1.3 connection, and nobody else, can compute.
func Exporter(cs *tls.ConnectionState) ([]byte, error) {
	if cs == nil || cs.Version != tls.VersionTLS13 || !cs.HandshakeComplete {
		return nil, ErrExporter
	}
	value, err := cs.ExportKeyingMaterial(ExporterLabel, nil, exporterLen)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrExporter, err)
	}
	return value, nil
}

// Prove returns HMAC-SHA256(secret, label ‖ exporter ‖ SHA-256(csr)). The exporter is Exporter's; csr
// is the certificate request in DER, as it is sent.
func Prove(secret Secret, exporter, csr []byte) [sha256.Size]byte {
	mac := hmac.New(sha256.New, secret[:])
	mac.Write([]byte(proofLabel))
	mac.Write(exporter)
	request := sha256.Sum256(csr)
	mac.Write(request[:])
	return [sha256.Size]byte(mac.Sum(nil))
}

// VerifyProof reports, in constant time, whether proof is Prove's for the same three values. An
// exporter of another length than Exporter's proves nothing.
func VerifyProof(secret Secret, exporter, csr, proof []byte) bool {
	want := Prove(secret, exporter, csr)
	return hmac.Equal(want[:], proof) && len(exporter) == exporterLen
}
