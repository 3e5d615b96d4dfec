package ikewire

import "fmt"

// PPKIDType is IANA's "IKEv2 Post-quantum Preshared Key ID Types", RFC 8784 section 5.1.
type PPKIDType uint8

// PPK ID types.
const (
	PPKIDOpaque PPKIDType = 1
	PPKIDFixed  PPKIDType = 2
)

// String returns IANA's name.
func (t PPKIDType) String() string {
	switch t {
	case PPKIDOpaque:
		return "PPK_ID_OPAQUE"
	case PPKIDFixed:
		return "PPK_ID_FIXED"
	}
	return fmt.Sprintf("PPK ID type %d", uint8(t))
}

// PPKID names a post-quantum preshared key.
type PPKID struct {
	Type PPKIDType // RFC 8784 section 5.1
	Data []byte    // 5.1; not empty
}

// ppkConfirmationLen is the length of PPK Confirmation, RFC 9867 section 3.1.
const ppkConfirmationLen = 8

// PPKIdentity returns the data of PPK_IDENTITY. In a responder's answer it is empty: then
// the PPKID is the zero value (RFC 8784 section 3).
func (n Notify) PPKIdentity() (PPKID, error) {
	b, err := n.bytes(0, MaxMessage, PPKIdentity)
	if err != nil || len(b) == 0 {
		return PPKID{}, err
	}
	return n.ppkID(b)
}

// NewPPKIdentity returns a PPK_IDENTITY notify; the zero PPKID gives the responder's.
func NewPPKIdentity(id PPKID) Notify {
	if id.Type == 0 && len(id.Data) == 0 {
		return Notify{Type: PPKIdentity}
	}
	return Notify{Type: PPKIdentity, Data: append([]byte{uint8(id.Type)}, id.Data...)}
}

// PPKOffer is the data of PPK_IDENTITY_KEY.
type PPKOffer struct {
	ID           PPKID                    // RFC 9867 section 3.1
	Confirmation [ppkConfirmationLen]byte // 3.1: shows that the initiator has the key
}

// PPKIdentityKey returns the data of PPK_IDENTITY_KEY.
func (n Notify) PPKIdentityKey() (PPKOffer, error) {
	b, err := n.bytes(2+ppkConfirmationLen, MaxMessage, PPKIdentityKey)
	if err != nil {
		return PPKOffer{}, err
	}
	end := len(b) - ppkConfirmationLen
	id, err := n.ppkID(b[:end:end])
	return PPKOffer{ID: id, Confirmation: [ppkConfirmationLen]byte(b[end:])}, err
}

// NewPPKIdentityKey returns a PPK_IDENTITY_KEY notify.
func NewPPKIdentityKey(o PPKOffer) Notify {
	data := append([]byte{uint8(o.ID.Type)}, o.ID.Data...)
	return Notify{Type: PPKIdentityKey, Data: append(data, o.Confirmation[:]...)}
}

// NoPPKAuth returns the data of NO_PPK_AUTH: authentication data as in AUTH, for a peer
// that lacks the key (RFC 8784 section 3); not empty.
func (n Notify) NoPPKAuth() ([]byte, error) { return n.bytes(1, MaxMessage, NoPPKAuth) }

// NewNoPPKAuth returns a NO_PPK_AUTH notify.
func NewNoPPKAuth(auth []byte) Notify { return Notify{Type: NoPPKAuth, Data: auth} }

func (n Notify) ppkID(b []byte) (PPKID, error) {
	if len(b) < 2 {
		return PPKID{}, n.badLength()
	}
	return PPKID{Type: PPKIDType(b[0]), Data: b[1:]}, nil
}
