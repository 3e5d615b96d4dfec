package ikekeys

import (
	"fmt"
	"slices"

	"sallyport.dev/sallyport/services/protocol/ikewire"
	"sallyport.dev/sallyport/services/protocol/transform"
)

// Derive makes the keys of a new IKE SA from its IKE_SA_INIT exchange, RFC 7296 section 2.14:
// ni and nr are the bodies of the Nonce payloads, secret is that of the key exchange. Errors:
// ErrSuite, ErrNonce, ErrSecret.
func Derive(s Suite, ni, nr, secret []byte, spii, spir ikewire.IKESPI) (*Keys, error) {
	if err := checkInputs(s, ni, nr, secret); err != nil {
		return nil, err
	}
	return expand(s, skeyseed(s.PRF, ni, nr, secret), ni, nr, spii, spir)
}

// skeyseed is prf(Ni | Nr, g^ir). A function whose key has a fixed length takes half of it from
// each nonce's beginning.
func skeyseed(prf transform.PRF, ni, nr, secret []byte) []byte {
	if prf.Fixed {
		ni, nr = ni[:min(len(ni), prf.KeyLen/2)], nr[:min(len(nr), prf.KeyLen/2)]
	}
	return prf.Sum(nil, slices.Concat(ni, nr), secret)
}

// expand is prf+(SKEYSEED, Ni | Nr | SPIi | SPIr), cut into keys.
func expand(s Suite, seed, ni, nr []byte, spii, spir ikewire.IKESPI) (*Keys, error) {
	b, err := s.PRF.Plus(nil, s.keysLen(), seed, ni, nr, spii[:], spir[:])
	if err != nil {
		return nil, err
	}
	return split(s, b), nil
}

// WithAdditional makes the keys after an IKE_INTERMEDIATE exchange with a key exchange, RFC 9370
// section 2.2.2. The nonces and SPIs are those of IKE_SA_INIT, secret is SK(n); k is as it was.
// Errors: ErrSuite, ErrNonce, ErrSecret.
func (k *Keys) WithAdditional(ni, nr, secret []byte, spii, spir ikewire.IKESPI) (*Keys, error) {
	return k.Rekey(k.Suite, ni, nr, spii, spir, secret)
}

// Rekey makes the keys of the IKE SA that replaces this one, RFC 7296 section 2.18, RFC 9370
// section 2.2.4: s is the new suite, nonces and SPIs are the new ones, secrets are those of the
// CREATE_CHILD_SA exchange and of each IKE_FOLLOWUP_KE exchange after it, in this order. k is as
// it was. SKEYSEED is made with the old PRF, the keys with the new one. (strongSwan, 5.9.8 and 6.1.0, makes
// the keys with the old one too: an end that keeps the PRF is understood by everybody.) Errors:
// ErrSuite, ErrNonce, ErrSecret, also when there is no secret at all.
func (k *Keys) Rekey(s Suite, ni, nr []byte, spii, spir ikewire.IKESPI, secrets ...[]byte) (*Keys, error) {
	if len(secrets) == 0 {
		return nil, fmt.Errorf("%w: a new IKE SA needs a key exchange", ErrSecret)
	}
	if err := checkInputs(s, ni, nr, secrets...); err != nil {
		return nil, err
	}
	return expand(s, k.seedOfRekey(ni, nr, secrets), ni, nr, spii, spir)
}

// seedOfRekey is SKEYSEED = prf(SK_d (old), SK(0) | Ni | Nr | SK(1) | … | SK(n)).
func (k *Keys) seedOfRekey(ni, nr []byte, secrets [][]byte) []byte {
	return k.Suite.PRF.Sum(nil, k.SKd, mixed(ni, nr, secrets)...)
}

// ChildKeymat makes the key material of a Child SA, length bytes for each direction: what the
// initiator of the exchange that makes the Child SA sends, and what the responder sends. For
// ESP, length is transform.Suite.KeymatLen, for AH transform.Integrity.KeymatLen. RFC 7296
// section 2.17, RFC 9370 section 2.2.4: secrets are empty without a key exchange, else those of
// the CREATE_CHILD_SA exchange and of each IKE_FOLLOWUP_KE exchange after it. Errors: ErrSuite,
// ErrNonce, ErrSecret, transform's ErrOutputLength.
func (k *Keys) ChildKeymat(length int, ni, nr []byte, secrets ...[]byte) (initiator, responder transform.Keymat, err error) {
	if err := checkInputs(k.Suite, ni, nr, secrets...); err != nil {
		return nil, nil, err
	}
	if length < 0 {
		return nil, nil, fmt.Errorf("ikekeys: KEYMAT: %w: %d", transform.ErrOutputLength, length)
	}
	b, err := k.Suite.PRF.Plus(nil, 2*length, k.SKd, mixed(ni, nr, secrets)...)
	if err != nil {
		return nil, nil, fmt.Errorf("ikekeys: KEYMAT: %w", err)
	}
	return b[:length:length], b[length:], nil
}

// mixed is [SK(0)] | Ni | Nr | SK(1) | … | SK(n).
func mixed(ni, nr []byte, secrets [][]byte) [][]byte {
	var parts [][]byte
	if len(secrets) > 0 {
		parts, secrets = append(parts, secrets[0]), secrets[1:]
	}
	return append(append(parts, ni, nr), secrets...)
}

// WithPPK mixes a post-quantum preshared key into SK_d, SK_pi and SK_pr, RFC 8784 section 3.
// k is as it was: AUTH without the PPK (NO_PPK_AUTH) is made with its SK_pi. It is done once, in
// the initial IKE SA; a rekeyed one has it through SK_d. Errors: ErrSuite, ErrSecret.
func (k *Keys) WithPPK(ppk []byte) (*Keys, error) {
	if err := k.Suite.Check(); err != nil {
		return nil, err
	}
	if len(ppk) == 0 {
		return nil, fmt.Errorf("%w: the PPK is empty", ErrSecret)
	}
	with := *k
	for _, key := range []*transform.Keymat{&with.SKd, &with.SKpi, &with.SKpr} {
		b, err := k.Suite.PRF.Plus(nil, len(*key), ppk, *key)
		if err != nil {
			return nil, err
		}
		*key = b
	}
	return &with, nil
}

func checkInputs(s Suite, ni, nr []byte, secrets ...[]byte) error {
	if err := s.Check(); err != nil {
		return err
	}
	for _, nonce := range [][]byte{ni, nr} {
		if len(nonce) < ikewire.MinNonce || len(nonce) > ikewire.MaxNonce {
			return fmt.Errorf("%w: %d bytes", ErrNonce, len(nonce))
		}
	}
	for i, secret := range secrets {
		if len(secret) == 0 {
			return fmt.Errorf("%w: SK(%d)", ErrSecret, i)
		}
	}
	return nil
}
