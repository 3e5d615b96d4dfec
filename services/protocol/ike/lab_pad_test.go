package ike

import (
	"crypto/hmac"
	"fmt"

	"sallyport.dev/sallyport/services/protocol/ikekeys"
	"sallyport.dev/sallyport/services/protocol/ikewire"
	"sallyport.dev/sallyport/services/protocol/transform"
)

func (e *end) prf(id uint16) transform.PRF {
	prf, err := transform.PRFByID(id)
	if err != nil {
		e.l.fail("%v", err)
	}
	return prf
}

func (e *end) sign(a SignAUTH) Command {
	sum := func(octets Secret) []byte { return ikekeys.SharedKeyAUTH(e.prf(a.PRF), []byte(e.psk), octets) }
	signed := AUTHSigned{ID: a.ID, AUTH: ikewire.AUTH{Method: ikewire.AuthSharedKey, Data: sum(a.SignedOctets)}}
	if a.WithoutPPK != nil {
		signed.WithoutPPK = sum(a.WithoutPPK)
	}
	return signed
}

func (e *end) verify(a VerifyPeer) Command {
	if e.decide != nil {
		return e.decide(a)
	}
	want := ikekeys.SharedKeyAUTH(e.prf(a.PRF), []byte(e.psk), a.SignedOctets)
	ok := a.AUTH.Method == ikewire.AuthSharedKey && hmac.Equal(want, a.AUTH.Data)
	return PeerVerified{ID: a.ID, Accepted: ok, Reason: fmt.Sprintf("PSK of %s and %s", a.IDi, a.IDr)}
}
