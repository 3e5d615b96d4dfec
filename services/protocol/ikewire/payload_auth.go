package ikewire

import (
	"fmt"

	"golang.org/x/crypto/cryptobyte"
)

// AuthMethod is IANA's "IKEv2 Authentication Method", RFC 7296 section 3.8.
type AuthMethod uint8

// Authentication methods.
const (
	AuthRSA          AuthMethod = 1  // RSASSA-PKCS1-v1_5, RFC 7296
	AuthSharedKey    AuthMethod = 2  // RFC 7296
	AuthDSS          AuthMethod = 3  // RFC 7296
	AuthECDSAP256    AuthMethod = 9  // with SHA-256, RFC 4754
	AuthECDSAP384    AuthMethod = 10 // with SHA-384, RFC 4754
	AuthECDSAP521    AuthMethod = 11 // with SHA-512, RFC 4754
	AuthPassword     AuthMethod = 12 // RFC 6467
	AuthNull         AuthMethod = 13 // RFC 7619
	AuthDigitalSig   AuthMethod = 14 // RFC 7427
	maxAlgIdentifier            = 0xff
)

// String returns a short form of IANA's name.
func (m AuthMethod) String() string {
	switch m {
	case AuthRSA:
		return "RSA signature"
	case AuthSharedKey:
		return "shared key"
	case AuthDSS:
		return "DSS signature"
	case AuthECDSAP256:
		return "ECDSA P-256 with SHA-256"
	case AuthECDSAP384:
		return "ECDSA P-384 with SHA-384"
	case AuthECDSAP521:
		return "ECDSA P-521 with SHA-512"
	case AuthPassword:
		return "secure password"
	case AuthNull:
		return "NULL authentication"
	case AuthDigitalSig:
		return "digital signature"
	}
	return fmt.Sprintf("authentication method %d", uint8(m))
}

// AUTH is the Authentication payload.
type AUTH struct {
	Method AuthMethod // RFC 7296 section 3.8
	Data   []byte     // 3.8: a MAC, a signature, or for method 14 what DigitalSignature reads
}

// PayloadType returns PayloadAUTH.
func (AUTH) PayloadType() PayloadType { return PayloadAUTH }

// NewDigitalSignature returns the payload of method 14: the algorithm's DER and the
// signature. Errors: ErrLength when the DER is empty or longer than 255 bytes.
func NewDigitalSignature(algorithm, signature []byte) (AUTH, error) {
	if len(algorithm) == 0 || len(algorithm) > maxAlgIdentifier {
		return AUTH{}, fmt.Errorf("%w: AlgorithmIdentifier of %d bytes", ErrLength, len(algorithm))
	}
	data := append([]byte{uint8(len(algorithm))}, algorithm...)
	return AUTH{Method: AuthDigitalSig, Data: append(data, signature...)}, nil
}

// DigitalSignature splits the data of method 14, RFC 7427 section 3, into the DER of an
// AlgorithmIdentifier, which ParseSignatureAlgorithm reads, and the signature. Errors:
// ErrValue for another method, ErrTruncated, ErrLength.
func (p AUTH) DigitalSignature() (algorithm, signature []byte, err error) {
	if p.Method != AuthDigitalSig {
		return nil, nil, fmt.Errorf("%w: %s is not method 14", ErrValue, p.Method)
	}
	s := cryptobyte.String(p.Data)
	var der cryptobyte.String
	if !s.ReadUint8LengthPrefixed(&der) {
		return nil, nil, fmt.Errorf("AlgorithmIdentifier: %w", ErrTruncated)
	}
	if der.Empty() || s.Empty() {
		return nil, nil, fmt.Errorf("%w: no AlgorithmIdentifier or no signature", ErrLength)
	}
	return der, s, nil
}

func parseAUTH(s cryptobyte.String) (AUTH, error) {
	var method uint8
	if !s.ReadUint8(&method) || !s.Skip(3) {
		return AUTH{}, ErrTruncated
	}
	return AUTH{Method: AuthMethod(method), Data: free(s)}, nil
}

func (p AUTH) check() error {
	if len(p.Data) == 0 {
		return fmt.Errorf("%w: no authentication data", ErrLength)
	}
	if p.Method == AuthDigitalSig {
		_, _, err := p.DigitalSignature()
		return err
	}
	return nil
}

func (p AUTH) appendBody(b []byte) []byte {
	return append(append(b, uint8(p.Method), 0, 0, 0), p.Data...)
}
