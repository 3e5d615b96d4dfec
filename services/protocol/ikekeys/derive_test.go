package ikekeys

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"slices"
	"testing"

	"sallyport.dev/sallyport/services/protocol/ikewire"
	"sallyport.dev/sallyport/services/protocol/transform"
)

var (
	nonceI, nonceR = []byte("the nonce of the initiator"), []byte("the nonce of the responder, which is longer")
	spiI, spiR     = ikewire.IKESPI{1, 2, 3}, ikewire.IKESPI{4, 5, 6}
	secret0        = []byte("the first secret")
)

func derive(t testing.TB, s Suite) *Keys {
	t.Helper()
	k, err := Derive(s, nonceI, nonceR, secret0, spiI, spiR)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// Each key has the length that its transform wants, and none is another.
func TestKeyLengths(t *testing.T) {
	for _, s := range suites(t) {
		for _, prf := range transform.PRFs() {
			s.PRF = prf
			k := derive(t, s)
			for _, tt := range []struct {
				key  transform.Keymat
				want int
			}{
				{k.SKd, prf.KeyLen}, {k.SKai, s.Integrity.KeyLen}, {k.SKar, s.Integrity.KeyLen},
				{k.SKei, s.Encryption.KeymatLen()}, {k.SKer, s.Encryption.KeymatLen()}, {k.SKpi, prf.KeyLen}, {k.SKpr, prf.KeyLen},
			} {
				if len(tt.key) != tt.want || cap(tt.key) != tt.want && tt.want > 0 {
					t.Errorf("%v: a key of %d bytes, want %d", s, len(tt.key), tt.want)
				}
			}
			if bytes.Equal(k.SKei, k.SKer) || bytes.Equal(k.SKpi, k.SKpr) || bytes.Equal(k.SKd, k.SKpi) || s.Integrity.KeyLen > 0 && bytes.Equal(k.SKai, k.SKar) {
				t.Errorf("%v: two keys are one", s)
			}
		}
	}
}

// RFC 7296 section 2.14: with a PRF of fixed key length only 8 bytes of each nonce make SKEYSEED's key, and all of
// them the keys; with HMAC all of them both.
func TestNoncesOfFixedPRFs(t *testing.T) {
	for _, prf := range transform.PRFs() {
		seed := skeyseed(prf, nonceI, nonceR, secret0)
		i, r := bytes.Clone(nonceI), bytes.Clone(nonceR)
		i[8]++
		r[len(r)-1]++
		if same := bytes.Equal(skeyseed(prf, i, r, secret0), seed); same != prf.Fixed {
			t.Errorf("%v: the nonces' ends count: %v", prf, !same)
		}
		if prf.Fixed && !bytes.Equal(seed, prf.Sum(nil, slices.Concat(nonceI[:8], nonceR[:8]), secret0)) {
			t.Errorf("%v: another SKEYSEED", prf)
		}
		i = bytes.Clone(nonceI)
		i[7]++
		if bytes.Equal(skeyseed(prf, i, nonceR, secret0), seed) {
			t.Errorf("%v: byte 7 does not count", prf)
		}
	}
}

// Every input of a derivation counts, and the initiator's are not the responder's.
func TestInputsCount(t *testing.T) {
	s := parseSuite(t, "aes128gcm16", "prfsha256")
	k := derive(t, s)
	seen := map[string]string{}
	note := func(what string, keys *Keys, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		all := string(keys.Marshal())
		if other, twice := seen[all]; twice {
			t.Errorf("%s gives the keys of %s", what, other)
		}
		seen[all] = what
	}
	other := []byte("another secret")
	type inputs struct {
		what           string
		ni, nr, secret []byte
		spii, spir     ikewire.IKESPI
	}
	for _, in := range []inputs{
		{"all", nonceI, nonceR, secret0, spiI, spiR},
		{"nonces swapped", nonceR, nonceI, secret0, spiI, spiR},
		{"SPIs swapped", nonceI, nonceR, secret0, spiR, spiI},
		{"another SPIi", nonceI, nonceR, secret0, ikewire.IKESPI{9}, spiR},
		{"another SPIr", nonceI, nonceR, secret0, spiI, ikewire.IKESPI{9}},
		{"another secret", nonceI, nonceR, other, spiI, spiR},
		{"a nonce moved", nonceI[:20], slices.Concat(nonceI[20:], nonceR), append(bytes.Clone(secret0), 0), spiI, spiR},
	} {
		d, err := Derive(s, in.ni, in.nr, in.secret, in.spii, in.spir)
		note("Derive, "+in.what, d, err)
		d, err = k.WithAdditional(in.ni, in.nr, in.secret, in.spii, in.spir)
		note("WithAdditional, "+in.what, d, err)
		d, err = k.Rekey(s, in.ni, in.nr, in.spii, in.spir, in.secret, other, secret0)
		note("Rekey with three, "+in.what, d, err)
		d, err = k.Rekey(s, in.ni, in.nr, in.spii, in.spir, in.secret, secret0, other)
		note("Rekey with three in another order, "+in.what, d, err)
	}
	if !bytes.Equal(k.Marshal(), derive(t, s).Marshal()) {
		t.Error("k was changed")
	}
}

// RFC 9370 sections 2.2.2 and 2.2.4, spelled out: what IKE_INTERMEDIATE and IKE_FOLLOWUP_KE mix in, and where.
func TestAdditionalKeyExchanges(t *testing.T) {
	for _, prf := range transform.PRFs() {
		s := parseSuite(t, "aes256-sha256", prf.Name)
		k := derive(t, s)
		one, two := []byte("SK(1)"), []byte("SK(2)")
		keys := func(prf transform.PRF, seed []byte) []byte {
			b, err := prf.Plus(nil, s.keysLen(), seed, slices.Concat(nonceI, nonceR, spiI[:], spiR[:]))
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		first, err := k.WithAdditional(nonceI, nonceR, one, spiI, spiR)
		if want := keys(prf, prf.Sum(nil, k.SKd, slices.Concat(one, nonceI, nonceR))); err != nil || !bytes.Equal(first.Marshal(), want) {
			t.Errorf("%v: SKEYSEED(1): %v", prf, err)
		}
		second, err := first.WithAdditional(nonceI, nonceR, two, spiI, spiR)
		if want := keys(prf, prf.Sum(nil, first.SKd, slices.Concat(two, nonceI, nonceR))); err != nil || !bytes.Equal(second.Marshal(), want) {
			t.Errorf("%v: SKEYSEED(2): %v", prf, err)
		}
		mixed := slices.Concat(secret0, nonceI, nonceR, one, two)
		rekeyed, err := k.Rekey(s, nonceI, nonceR, spiI, spiR, secret0, one, two)
		if want := keys(prf, prf.Sum(nil, k.SKd, mixed)); err != nil || !bytes.Equal(rekeyed.Marshal(), want) {
			t.Errorf("%v: rekey: %v", prf, err)
		}
		i, r, err := k.ChildKeymat(36, nonceI, nonceR, secret0, one, two)
		if want, _ := prf.Plus(nil, 72, k.SKd, mixed); err != nil || !bytes.Equal(slices.Concat(i, r), want) || len(i) != 36 {
			t.Errorf("%v: KEYMAT: %v", prf, err)
		}
		i, r, err = k.ChildKeymat(36, nonceI, nonceR)
		if want, _ := prf.Plus(nil, 72, k.SKd, nonceI, nonceR); err != nil || !bytes.Equal(slices.Concat(i, r), want) {
			t.Errorf("%v: KEYMAT without a key exchange: %v", prf, err)
		}
	}
}

// RFC 7296 section 2.18: the old PRF makes SKEYSEED, the new one the keys, with the new suite's lengths.
func TestRekeyToOtherTransforms(t *testing.T) {
	from, to := parseSuite(t, "aes128gcm16", "prfsha256"), parseSuite(t, "aes256-sha512", "prfaescmac")
	k := derive(t, from)
	got, err := k.Rekey(to, nonceI, nonceR, spiI, spiR, secret0)
	seed := from.PRF.Sum(nil, k.SKd, secret0, nonceI, nonceR)
	want, _ := to.PRF.Plus(nil, 3*16+2*64+2*32, seed, nonceI, nonceR, spiI[:], spiR[:])
	if err != nil || got.Suite != to || !bytes.Equal(got.Marshal(), want) {
		t.Errorf("%v, %v", got, err)
	}
}

// RFC 8784 section 3: SK_d, SK_pi and SK_pr change, each by itself, and nothing else.
func TestWithPPK(t *testing.T) {
	for _, prf := range transform.PRFs() {
		k := derive(t, parseSuite(t, "aes256-sha256", prf.Name))
		before, ppk := k.Marshal(), []byte("a post-quantum preshared key of 256 bits or more")
		got, err := k.WithPPK(ppk)
		if err != nil {
			t.Fatal(err)
		}
		want := *k
		want.SKd, _ = prf.Plus(nil, prf.KeyLen, ppk, k.SKd)
		want.SKpi, _ = prf.Plus(nil, prf.KeyLen, ppk, k.SKpi)
		want.SKpr, _ = prf.Plus(nil, prf.KeyLen, ppk, k.SKpr)
		if !reflect.DeepEqual(*got, want) || bytes.Equal(got.SKd, k.SKd) || bytes.Equal(got.SKpi, got.SKpr) {
			t.Errorf("%v: other keys with the PPK", prf)
		}
		if !bytes.Equal(k.Marshal(), before) {
			t.Errorf("%v: the keys without the PPK are gone", prf)
		}
	}
}

func TestDeriveErrors(t *testing.T) {
	s := parseSuite(t, "aes128gcm16", "prfsha256")
	k := derive(t, s)
	long := make([]byte, ikewire.MaxNonce+1)
	calls := map[string]func(s Suite, ni, nr, secret []byte) error{
		"Derive": func(s Suite, ni, nr, secret []byte) error {
			_, err := Derive(s, ni, nr, secret, spiI, spiR)
			return err
		},
		"Rekey": func(s Suite, ni, nr, secret []byte) error {
			_, err := k.Rekey(s, ni, nr, spiI, spiR, secret)
			return err
		},
		"WithAdditional": func(s Suite, ni, nr, secret []byte) error {
			_, err := (&Keys{Suite: s, SKd: k.SKd}).WithAdditional(ni, nr, secret, spiI, spiR)
			return err
		},
		"ChildKeymat": func(s Suite, ni, nr, secret []byte) error {
			_, _, err := (&Keys{Suite: s, SKd: k.SKd}).ChildKeymat(20, ni, nr, secret)
			return err
		},
		"WithPPK": func(s Suite, _, _, secret []byte) error {
			_, err := (&Keys{Suite: s}).WithPPK(secret)
			return err
		},
	}
	for name, call := range calls {
		for _, tt := range []struct {
			s              Suite
			ni, nr, secret []byte
			want           error
		}{
			{s, nonceI, nonceR, secret0, nil},
			{s, long[:16], long[:256], secret0, nil},
			{Suite{}, nonceI, nonceR, secret0, ErrSuite},
			{s, nonceI, nonceR, nil, ErrSecret},
			{s, nonceI[:15], nonceR, secret0, ErrNonce},
			{s, nonceI, nonceR[:15], secret0, ErrNonce},
			{s, nil, nonceR, secret0, ErrNonce},
			{s, long, nonceR, secret0, ErrNonce},
			{s, nonceI, long, secret0, ErrNonce},
		} {
			if name == "WithPPK" && tt.want == ErrNonce {
				continue
			}
			if err := call(tt.s, tt.ni, tt.nr, tt.secret); !errors.Is(err, tt.want) {
				t.Errorf("%s with nonces of %d and %d bytes: %v, want %v", name, len(tt.ni), len(tt.nr), err, tt.want)
			}
		}
	}
	if _, err := k.Rekey(s, nonceI, nonceR, spiI, spiR); !errors.Is(err, ErrSecret) {
		t.Errorf("a rekey without a key exchange: %v", err)
	}
	if _, err := k.Rekey(s, nonceI, nonceR, spiI, spiR, secret0, nil); !errors.Is(err, ErrSecret) {
		t.Errorf("a rekey with an empty SK(1): %v", err)
	}
	for _, n := range []int{-1, 255*32/2 + 1, 1 << 62, math.MaxInt, math.MinInt + 10} {
		if _, _, err := k.ChildKeymat(n, nonceI, nonceR); !errors.Is(err, transform.ErrOutputLength) {
			t.Errorf("KEYMAT of %d bytes: %v", n, err)
		}
	}
}
