package pad_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/services/identity/pad"
	"sallyport.dev/sallyport/services/identity/pad/padtest"
	"sallyport.dev/sallyport/services/protocol/ikewire"
	"sallyport.dev/sallyport/services/protocol/transform"
)

// TestClaimsRefused: one thing is wrong with each claim.
func TestClaimsRefused(t *testing.T) {
	ca := padtest.NewCA(t, "ca")
	leaf := ca.Issue(t, "p", "p256", named)
	psk, cert := pad.Accept{Secrets: []pad.Secret{secret(t, "the secret")}}, byCA("ca")
	bySecret, bySign := peer{remoteID, []pad.Credential{{Secret: secret(t, "the secret")}}}, peer{remoteID, []pad.Credential{signer(leaf)}}
	for name, c := range map[string]struct {
		accept pad.Accept
		peer   peer
		edit   func(*pad.Claim)
		want   pad.Code
	}{
		"another secret":             {psk, peer{remoteID, []pad.Credential{{Secret: secret(t, "another secret")}}}, nil, pad.WrongSecret},
		"a MAC cut short":            {psk, bySecret, func(c *pad.Claim) { c.AUTH.Data = c.AUTH.Data[:31] }, pad.WrongSecret},
		"a MAC with a byte more":     {psk, bySecret, func(c *pad.Claim) { c.AUTH.Data = append(c.AUTH.Data, 0) }, pad.WrongSecret},
		"other octets":               {psk, bySecret, func(c *pad.Claim) { c.SignedOctets = []byte("other") }, pad.WrongSecret},
		"another identity":           {psk, peer{"fqdn:x.example", bySecret.credentials}, nil, pad.UnknownIdentity},
		"an unknown one, signing":    {cert, peer{"fqdn:x.example", bySign.credentials}, nil, pad.UnknownIdentity},
		"our identity":               {psk, bySecret, func(c *pad.Claim) { c.Remote = identity(t, localID) }, pad.UnknownIdentity},
		"asks for another of ours":   {psk, bySecret, func(c *pad.Claim) { c.Local = identity(t, "fqdn:x.example") }, pad.OtherLocalIdentity},
		"a secret for a signature":   {cert, bySecret, nil, pad.MethodNotAccepted},
		"a signature for a secret":   {psk, bySign, nil, pad.MethodNotAccepted},
		"NULL for a secret":          {psk, bySecret, func(c *pad.Claim) { c.AUTH.Method = ikewire.AuthNull }, pad.UnknownIdentity},
		"EAP":                        {psk, bySecret, func(c *pad.Claim) { c.AUTH.Method = ikewire.AuthPassword }, pad.MethodUnknown},
		"DSS":                        {cert, bySign, func(c *pad.Claim) { c.AUTH.Method = ikewire.AuthDSS }, pad.MethodUnknown},
		"method 0":                   {psk, bySecret, func(c *pad.Claim) { c.AUTH.Method = 0 }, pad.MethodUnknown},
		"no AUTH data":               {psk, bySecret, func(c *pad.Claim) { c.AUTH.Data = nil }, pad.BadSignature},
		"no octets":                  {psk, bySecret, func(c *pad.Claim) { c.SignedOctets = nil }, pad.Misuse},
		"no time":                    {psk, bySecret, func(c *pad.Claim) { c.Now = time.Time{} }, pad.Misuse},
		"no PRF":                     {psk, bySecret, func(c *pad.Claim) { c.PRF = transform.PRF{} }, pad.Misuse},
		"no role":                    {psk, bySecret, func(c *pad.Claim) { c.Role = 0 }, pad.Misuse},
		"a responder nobody called":  {psk, bySecret, func(c *pad.Claim) { c.Role = pad.Responder }, pad.Misuse},
		"an entry that is not there": {psk, bySecret, func(c *pad.Claim) { c.Entry = "x" }, pad.Misuse},
		"no certificate":             {cert, bySign, func(c *pad.Claim) { c.Certs = nil }, pad.NoCertificate},
		"hash and URL":               {cert, bySign, func(c *pad.Claim) { c.Certs[0].Encoding = ikewire.CertHashAndURL }, pad.NoCertificate},
		"junk for a certificate":     {cert, bySign, func(c *pad.Claim) { c.Certs[0].Data = []byte("junk") }, pad.BadCertificate},
		"junk before a certificate":  {cert, bySign, junkFirst, pad.BadCertificate},
		"a certificate with a tail":  {cert, bySign, func(c *pad.Claim) { c.Certs[0].Data = append(c.Certs[0].Data, 0) }, pad.BadCertificate},
		"many certificates":          {cert, bySign, func(c *pad.Claim) { c.Certs = append(c.Certs, make([]ikewire.CERT, 16)...) }, pad.TooManyCertificates},
		"a long certificate":         {cert, bySign, func(c *pad.Claim) { c.Certs[0].Data = make([]byte, 1<<15) }, pad.TooManyCertificates},
		"another's certificate":      {cert, bySign, func(c *pad.Claim) { c.Certs[0].Data = ca.Issue(t, "p", "p256", named).Raw }, pad.BadSignature},
		"a hash not announced":       {cert, bySign, func(c *pad.Claim) { c.Announced = []ikewire.HashAlgorithm{ikewire.HashSHA512} }, pad.HashNotAnnounced},
		"nothing announced":          {cert, bySign, func(c *pad.Claim) { c.Announced = nil }, pad.HashNotAnnounced},
		"junk for an algorithm":      {cert, bySign, func(c *pad.Claim) { c.AUTH.Data[3] ^= 1 }, pad.BadAlgorithm},
		"no signature behind it":     {cert, bySign, func(c *pad.Claim) { c.AUTH.Data = c.AUTH.Data[:1+c.AUTH.Data[0]] }, pad.BadAlgorithm},
		"a signature cut short":      {cert, bySign, func(c *pad.Claim) { c.AUTH.Data = c.AUTH.Data[:len(c.AUTH.Data)-1] }, pad.BadSignature},
		"a signature with a tail":    {cert, bySign, func(c *pad.Claim) { c.AUTH.Data = append(c.AUTH.Data, 0) }, pad.BadSignature},
	} {
		t.Run(name, func(t *testing.T) {
			d := database(t, pad.Config{Authorities: []pad.Authority{authority("ca", ca)}, Entries: []pad.Entry{entry(t, "peer", remoteID, c.accept)}})
			claim := c.peer.claim(t)
			if c.edit != nil {
				expect(t, d, claim, 0) // the edit is all that is wrong
				c.edit(&claim)
			}
			expect(t, d, claim, c.want)
		})
	}
}

func junkFirst(c *pad.Claim) {
	c.Certs = append([]ikewire.CERT{{Encoding: ikewire.CertX509Signature, Data: []byte("junk")}}, c.Certs...)
}

func TestCodesHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for c := pad.BadIdentity; c <= pad.Misuse; c++ {
		if s := c.String(); s == "" || strings.HasPrefix(s, "code ") || seen[s] {
			t.Errorf("code %d is called %q", uint8(c), s)
		}
		seen[c.String()] = true
	}
	if pad.Code(0).String() != "code 0" || pad.Misuse.String() != "misuse" || (pad.Misuse+1).String() == "misuse" {
		t.Error("codes out of range have names")
	}
	var r error = &pad.Refusal{Entry: "a", Reason: "b", Remedy: "c"}
	if r.Error() != "peer a: b; c" || !errors.As(r, new(*pad.Refusal)) {
		t.Errorf("a refusal reads %q", r)
	}
}
