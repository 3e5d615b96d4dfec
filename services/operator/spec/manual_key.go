package spec

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/protocol/transform"
)

// Redacted stands where a key is that nobody is shown.
const Redacted = "[redacted]"

// ManualKeys is key material that an operator gives; nil where there is to be what there was. Whoever has
// it clears it.
type ManualKeys struct{ Inbound, Outbound []byte }

// Clear overwrites the keys.
func (k ManualKeys) Clear() {
	clear(k.Inbound)
	clear(k.Outbound)
}

// keyLength is how much key material an association needs, in bytes, and what of it is for what.
type keyLength struct {
	bytes      int
	encryption int // of bytes, the first
	parts      string
}

// KeyBytes is how much key material each association of a complete manual peer needs; 0 when its proposal
// is wrong.
func KeyBytes(s *operatorv1.ManualPeerSpec) int { return checkManualProposal(s, &Report{}).bytes }

// checkManualProposal returns the zero value when the proposal is wrong.
func checkManualProposal(s *operatorv1.ManualPeerSpec, r *Report) keyLength {
	const field = "spec.proposal"
	if s.GetProtocol() == "ah" {
		return checkIntegrity(field, s, r)
	}
	parse := transform.ParseSuite
	if s.GetInsecure() {
		parse = transform.ParseInsecureSuite
	}
	suite, err := parse(s.GetProposal())
	if err != nil {
		text := proposalText(err)
		if strings.HasSuffix(s.GetProposal(), "esn") {
			text += "; extended sequence numbers are spec.esn here"
		}
		r.problem(field, "%s: %s", quote(s.GetProposal()), text)
		return keyLength{}
	}
	if suite.Encryption.IVLen > 0 && !suite.Encryption.UnpredictableIV() {
		counterMode(field, s, "aes256-sha256 and null-sha256 do not", r)
		return keyLength{}
	}
	warnPrivate(suite.Integrity, r)
	n := keyLength{bytes: suite.KeymatLen(), encryption: suite.Encryption.KeymatLen()}
	n.parts = fmt.Sprintf("%d for %s, then %d for %s", suite.Encryption.KeyLen, suite.Encryption, suite.Integrity.KeyLen, suite.Integrity)
	if suite.Encryption.KeyLen == 0 {
		n.parts = "for " + suite.Integrity.String()
	}
	return n
}

func checkIntegrity(field string, s *operatorv1.ManualPeerSpec, r *Report) keyLength {
	integrity, err := transform.IntegrityByName(s.GetProposal())
	if err != nil {
		text := strings.TrimPrefix(err.Error(), "transform: ")
		if _, esp := transform.ParseInsecureSuite(s.GetProposal()); esp == nil || errors.Is(esp, transform.ErrNoIntegrity) {
			text = "AH hides nothing: name an integrity algorithm alone, as in " + DefaultManualIntegrity
		}
		r.problem(field, "%s: %s", quote(s.GetProposal()), text)
		return keyLength{}
	}
	if integrity.IVLen > 0 {
		counterMode(field, s, "sha256 does not", r)
		return keyLength{}
	}
	warnPrivate(integrity, r)
	return keyLength{bytes: integrity.KeymatLen(), parts: "for " + integrity.String()}
}

// counterMode refuses what counts its nonces: one that is used twice reveals plaintext or the authentication
// key.
func counterMode(field string, s *operatorv1.ManualPeerSpec, instead string, r *Report) {
	r.problem(field, "%s MUST NOT be used with manual keys (RFC 8221 section 3): it counts its nonces, and a count that begins again "+
		"under the same key gives the traffic away; %s", quote(s.GetProposal()), instead)
}

func warnPrivate(i transform.Integrity, r *Report) {
	if i.Private() {
		r.warn("%s has a number for private use: the peer must be Sallyport too", i)
	}
}

// checkManualKeys reads both keys. want is zero when nobody can tell how long they are.
func checkManualKeys(s *operatorv1.ManualPeerSpec, want keyLength, r *Report) ManualKeys {
	keys := ManualKeys{
		Inbound:  checkKey("spec.inbound.key", s.GetInbound().GetKey(), want, r),
		Outbound: checkKey("spec.outbound.key", s.GetOutbound().GetKey(), want, r),
	}
	if n := want.encryption; n > 0 && len(keys.Inbound) == want.bytes && len(keys.Outbound) == want.bytes && !bytes.Equal(keys.Inbound, keys.Outbound) &&
		(bytes.Equal(keys.Inbound[:n], keys.Outbound[:n]) || bytes.Equal(keys.Inbound[n:], keys.Outbound[n:])) {
		r.problem("spec.outbound.key", "has the inbound encryption or integrity key in it: each direction needs keys of its own")
	}
	return keys
}

// checkKey shows nothing of what it reads: what is wrong may be nearly right.
func checkKey(field, text string, want keyLength, r *Report) []byte {
	if text == "" || text == Redacted {
		return nil
	}
	digits, ok := strings.CutPrefix(text, "0x")
	key, err := hex.DecodeString(digits)
	switch {
	case !ok:
		r.problem(field, "does not begin with 0x: write key material as 0x and hexadecimal digits")
		return nil
	case errors.Is(err, hex.ErrLength):
		r.problem(field, "has an odd number of hexadecimal digits: each byte has two")
		return nil
	case err != nil:
		r.problem(field, "has characters that are no hexadecimal digits")
		return nil
	case want.bytes != 0 && len(key) != want.bytes:
		r.problem(field, "has %d bytes, wanted are %d: %s", len(key), want.bytes, want.parts)
		clear(key)
		return nil
	}
	return key
}
