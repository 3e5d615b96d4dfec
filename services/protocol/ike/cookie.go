package ike

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"net/netip"

	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// CookieSecret makes and checks the stateless cookies of RFC 7296 section 2.6. Whether to demand one is the caller's
// decision; so is to change the secret from time to time, and to take cookies of the last one for a while.
type CookieSecret struct {
	Version uint8 // says which secret a cookie is of: its first byte
	Key     Secret
}

// cookieLen is a version and the first 16 bytes of an HMAC.
const cookieLen = 1 + 16

// Make returns the cookie of an IKE_SA_INIT request: HMAC-SHA-256 of its source, initiator SPI and nonce.
func (s CookieSecret) Make(from netip.AddrPort, spi ikewire.IKESPI, nonce []byte) []byte {
	mac := hmac.New(sha256.New, s.Key)
	mac.Write([]byte{s.Version, uint8(from.Addr().BitLen() / 8)})
	mac.Write(from.Addr().AsSlice())
	mac.Write([]byte{uint8(from.Port() >> 8), uint8(from.Port())})
	mac.Write(spi[:])
	mac.Write(nonce)
	return mac.Sum([]byte{s.Version})[:cookieLen]
}

// Check reports whether a cookie is the one that Make makes. Its time does not depend on the cookie.
func (s CookieSecret) Check(cookie []byte, from netip.AddrPort, spi ikewire.IKESPI, nonce []byte) bool {
	return len(s.Key) > 0 && hmac.Equal(cookie, s.Make(from, spi, nonce))
}

// Hello is what an IKE_SA_INIT request shows before any state is kept for it.
type Hello struct {
	SPI    ikewire.IKESPI // the initiator's
	Nonce  []byte
	Cookie []byte // nil: none; the first payload, as RFC 7296 section 2.6 has it
}

// ParseHello reads an IKE_SA_INIT request. Errors: *Rejection with Malformed, CriticalPayload or UnexpectedExchange.
func ParseHello(datagram []byte) (Hello, error) {
	msg, err := ikewire.Parse(datagram)
	if err != nil {
		return Hello{}, malformed(err)
	}
	if err := checkHello(msg.Header); err != nil {
		return Hello{}, err
	}
	nonce, ok := ikewire.Find[ikewire.Nonce](msg.Payloads)
	if !ok {
		return Hello{}, reject(Malformed, "IKE_SA_INIT request without a nonce")
	}
	hello := Hello{SPI: msg.Header.InitiatorSPI, Nonce: nonce.Data}
	if n, ok := msg.Payloads[0].(ikewire.Notify); ok && n.Type == ikewire.Cookie {
		if hello.Cookie, err = n.Cookie(); err != nil {
			return Hello{}, malformed(err)
		}
	}
	return hello, nil
}

func checkHello(h ikewire.Header) error {
	switch {
	case h.Exchange != ikewire.IKESAInit || h.Flags.Response() || !h.Flags.Initiator():
		return reject(UnexpectedExchange, "%s with flags %q begins nothing", h.Exchange, h.Flags)
	case h.InitiatorSPI.IsZero() || !h.ResponderSPI.IsZero() || h.MessageID != 0:
		return reject(Malformed, "IKE_SA_INIT request with SPIs %s and %s and message ID %d",
			h.InitiatorSPI, h.ResponderSPI, h.MessageID)
	}
	return nil
}

// DemandCookie returns the answer to an IKE_SA_INIT request that demands the cookie (RFC 7296 section 2.6).
func DemandCookie(h Hello, cookie []byte) ([]byte, error) {
	return answerHello(h.SPI, ikewire.NewCookie(cookie))
}

// answerHello writes an IKE_SA_INIT response that keeps no state: one notify, responder SPI zero.
func answerHello(spi ikewire.IKESPI, n ikewire.Notify) ([]byte, error) {
	h := ikewire.Header{InitiatorSPI: spi, Exchange: ikewire.IKESAInit, Flags: ikewire.FlagResponse}
	return (&ikewire.Message{Header: h, Payloads: []ikewire.Payload{n}}).Append(nil)
}

// malformed wraps an error of the codec.
func malformed(err error) error {
	if _, critical := errors.AsType[*ikewire.CriticalPayloadError](err); critical {
		return &Rejection{CriticalPayload, err}
	}
	return &Rejection{Malformed, err}
}
