package manual

import (
	"errors"
	"strings"

	"sallyport.dev/sallyport/agent/datapath"
	"sallyport.dev/sallyport/services/protocol/transform"
)

// proposal reads the transforms of a policy. It returns false when there are none to check keys against.
func (d *decoder) proposal(m fields, protocol datapath.Protocol, insecure bool) (transform.Suite, bool) {
	e := m["proposal"]
	text, ok := d.text(e.value, "proposal")
	if !ok {
		return transform.Suite{}, false
	}
	suite, err := suiteOf(text, protocol, insecure)
	if err != nil {
		d.fail(e.value, err, "proposal: %s%s", strings.TrimPrefix(err.Error(), "transform: "), advice(err, text, protocol))
		return transform.Suite{}, false
	}
	if isCounter(suite) && !insecure {
		d.fail(e.value, ErrCounterMode, "proposal %q: it encrypts by a counter, which must never come again under one key, and keys "+
			"in a file outlive the counter: RFC 8221 section 3 says MUST NOT. Choose a CBC suite (aes256-sha256), or let the "+
			"controller key this pair; for a test say insecure: true at the top of the file", text)
		return transform.Suite{}, false
	}
	return suite, true
}

func suiteOf(text string, protocol datapath.Protocol, insecure bool) (suite transform.Suite, err error) {
	switch {
	case protocol == datapath.AH:
		suite.Integrity, err = transform.IntegrityByName(text)
	case insecure:
		suite, err = transform.ParseInsecureSuite(text)
	default:
		suite, err = transform.ParseSuite(text)
	}
	return suite, err
}

// advice is what to write instead.
func advice(err error, text string, protocol datapath.Protocol) string {
	switch {
	case errors.Is(err, transform.ErrNoIntegrity):
		return ": write an integrity algorithm behind it, for example " + text + "-sha256"
	case errors.Is(err, transform.ErrInsecure):
		return ": if the other end can nothing better, say insecure: true at the top of the file"
	case protocol == datapath.AH && errors.Is(err, transform.ErrUnknown):
		return "; AH encrypts nothing, its proposal is an integrity algorithm"
	case protocol == datapath.ESP && errors.Is(err, transform.ErrUnknown):
		if _, e := transform.IntegrityByName(text); e == nil {
			return "; ESP that only authenticates is null-" + text
		}
	}
	return ""
}

// isCounter reports whether a nonce that came again would do harm: in all modes with an explicit IV that is not
// to be unpredictable, in ESP or AH.
func isCounter(s transform.Suite) bool {
	return s.Encryption.IVLen > 0 && !s.Encryption.UnpredictableIV() || s.Integrity.IVLen > 0
}

// keymatLen is the length of the key material, bytes.
func keymatLen(s transform.Suite) int { return s.Encryption.KeymatLen() + s.Integrity.KeymatLen() }

// ownKeys splits key material into the keys, without salts, that no other SA may have. An encryption key is the first.
func ownKeys(s transform.Suite, keymat []byte) (keys [][]byte) {
	encryption, integrity := keymat[:s.Encryption.KeymatLen()], keymat[s.Encryption.KeymatLen():]
	for _, key := range [][]byte{encryption[:s.Encryption.KeyLen], integrity[:s.Integrity.KeyLen]} {
		if len(key) > 0 {
			keys = append(keys, key)
		}
	}
	return keys
}

// countedKey is the part of the key material under which a sequence number must not come again: the encryption
// key and its salt, whatever the mode, or else the integrity key and its salt.
func countedKey(s transform.Suite, keymat []byte) []byte {
	if n := s.Encryption.KeymatLen(); n > 0 {
		return keymat[:n]
	}
	return keymat
}
