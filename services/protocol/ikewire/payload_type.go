package ikewire

import "fmt"

// PayloadType is IANA's "IKEv2 Payload Types", RFC 7296 section 3.2.
type PayloadType uint8

// Payload types. Those of RFC 6467 (GSPM), RFC 9838 (IDg, GSA, KD) and RFC 8019 (PS)
// are not supported: they are treated as unknown.
const (
	NoNextPayload   PayloadType = 0
	PayloadSA       PayloadType = 33 // RFC 7296 section 3.3
	PayloadKE       PayloadType = 34 // RFC 7296 section 3.4
	PayloadIDi      PayloadType = 35 // RFC 7296 section 3.5
	PayloadIDr      PayloadType = 36 // RFC 7296 section 3.5
	PayloadCERT     PayloadType = 37 // RFC 7296 section 3.6
	PayloadCERTREQ  PayloadType = 38 // RFC 7296 section 3.7
	PayloadAUTH     PayloadType = 39 // RFC 7296 section 3.8
	PayloadNonce    PayloadType = 40 // RFC 7296 section 3.9
	PayloadNotify   PayloadType = 41 // RFC 7296 section 3.10
	PayloadDelete   PayloadType = 42 // RFC 7296 section 3.11
	PayloadVendorID PayloadType = 43 // RFC 7296 section 3.12
	PayloadTSi      PayloadType = 44 // RFC 7296 section 3.13
	PayloadTSr      PayloadType = 45 // RFC 7296 section 3.13
	PayloadSK       PayloadType = 46 // RFC 7296 section 3.14
	PayloadCP       PayloadType = 47 // RFC 7296 section 3.15
	PayloadEAP      PayloadType = 48 // RFC 7296 section 3.16
	PayloadGSPM     PayloadType = 49 // RFC 6467
	PayloadIDg      PayloadType = 50 // RFC 9838
	PayloadGSA      PayloadType = 51 // RFC 9838
	PayloadKD       PayloadType = 52 // RFC 9838
	PayloadSKF      PayloadType = 53 // RFC 7383 section 2.5
	PayloadPS       PayloadType = 54 // RFC 8019
)

// String returns IANA's notation.
func (t PayloadType) String() string {
	switch t {
	case NoNextPayload:
		return "no next payload"
	case PayloadSA:
		return "SA"
	case PayloadKE:
		return "KE"
	case PayloadIDi:
		return "IDi"
	case PayloadIDr:
		return "IDr"
	case PayloadCERT:
		return "CERT"
	case PayloadCERTREQ:
		return "CERTREQ"
	case PayloadAUTH:
		return "AUTH"
	case PayloadNonce:
		return "Nonce"
	case PayloadNotify:
		return "N"
	case PayloadDelete:
		return "D"
	case PayloadVendorID:
		return "V"
	case PayloadTSi:
		return "TSi"
	case PayloadTSr:
		return "TSr"
	case PayloadSK:
		return "SK"
	case PayloadCP:
		return "CP"
	case PayloadEAP:
		return "EAP"
	case PayloadGSPM:
		return "GSPM"
	case PayloadIDg:
		return "IDg"
	case PayloadGSA:
		return "GSA"
	case PayloadKD:
		return "KD"
	case PayloadSKF:
		return "SKF"
	case PayloadPS:
		return "PS"
	}
	return fmt.Sprintf("type %d", uint8(t))
}

// once reports whether a message holds at most one payload of the type. A second IDi or
// AUTH beside the one that was checked is an attack, not an extension.
func (t PayloadType) once() bool {
	switch t {
	case PayloadSA, PayloadKE, PayloadIDi, PayloadIDr, PayloadAUTH, PayloadNonce,
		PayloadTSi, PayloadTSr, PayloadCP, PayloadEAP, PayloadSK, PayloadSKF:
		return true
	}
	return false
}

// encrypted reports whether payloads of the type hold other payloads, encrypted.
func (t PayloadType) encrypted() bool { return t == PayloadSK || t == PayloadSKF }
