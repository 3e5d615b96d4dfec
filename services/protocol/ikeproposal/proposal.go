// Package ikeproposal reads and writes IKE proposals as people do, in strongSwan's words: algorithms joined by "-",
// where those of one type are alternatives, best first.
//
//	aes256gcm16-aes128gcm16-prfsha384-x25519-ecp384     of an IKE SA: encryption, PRF, key exchange
//	aes256-sha256-x25519-ke1_mlkem768                   integrity, and its PRF; an additional key exchange, RFC 9370
//	aes256gcm16-x25519-esn                              of ESP; the key exchange is that of CREATE_CHILD_SA
package ikeproposal

import (
	"errors"
	"fmt"
	"strings"

	"sallyport.dev/sallyport/services/protocol/ikewire"
	"sallyport.dev/sallyport/services/protocol/keyexchange"
	"sallyport.dev/sallyport/services/protocol/transform"
)

// Kind is what a proposal is for.
type Kind uint8

// Kinds.
const (
	IKE Kind = iota
	ESP
)

// Sequence numbers, Transform Type 5.
const (
	noESN = 0
	esn   = 1
)

// maxAlgorithms bounds the algorithms of one proposal.
const maxAlgorithms = 64

// ErrProposal: a text is no proposal. The error says what is wrong, and what to do.
var ErrProposal = errors.New("ikeproposal")

func wrong(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrProposal, fmt.Sprintf(format, args...))
}

// draft is a proposal that is being read.
type draft struct {
	kind      Kind
	insecure  bool // allows what RFC 8221 says SHOULD NOT be used
	out       []ikewire.Transform
	aead      int // encryption algorithms that are combined modes
	encrypts  int
	integrity []transform.Integrity
}

// Parse reads a proposal. Its transforms are in the order of their types, and of one type in that of the text. Errors:
// ErrProposal.
func Parse(kind Kind, text string, insecure bool) ([]ikewire.Transform, error) {
	d := draft{kind: kind, insecure: insecure}
	words := strings.Split(text, "-")
	if len(words) > maxAlgorithms {
		return nil, wrong("has %d algorithms: at most %d", len(words), maxAlgorithms)
	}
	for _, word := range words {
		t, err := d.read(word)
		if err != nil {
			return nil, err
		}
		if d.has(t) {
			return nil, wrong("%q is there twice", word)
		}
		d.out = append(d.out, t)
	}
	if err := d.complete(); err != nil {
		return nil, err
	}
	return d.sorted(), nil
}

// read reads one algorithm.
func (d *draft) read(word string) (ikewire.Transform, error) {
	if d.kind == ESP && (word == "esn" || word == "noesn") {
		id := uint16(noESN)
		if word == "esn" {
			id = esn
		}
		return ikewire.Transform{Type: ikewire.TransformSN, ID: id}, nil
	}
	if strings.HasPrefix(word, "prf") {
		return d.readPRF(word)
	}
	if t, ok, err := readAdditional(word); ok {
		return t, err
	}
	byName := transform.ByName
	if d.insecure {
		byName = transform.InsecureByName
	}
	e, err := byName(word)
	if err == nil {
		d.encrypts++
		if e.AEAD() {
			d.aead++
		}
		return ikewire.NewTransform(ikewire.TransformENCR, e.ID, e.KeyBits), nil
	}
	if i, err := transform.IntegrityByName(word); err == nil {
		d.integrity = append(d.integrity, i)
		return ikewire.Transform{Type: ikewire.TransformINTEG, ID: i.ID}, nil
	}
	if m, err := keyexchange.ByName(word); err == nil {
		return ikewire.Transform{Type: ikewire.TransformKE, ID: m.ID}, nil
	} else if errors.Is(err, keyexchange.ErrForbidden) {
		return ikewire.Transform{}, wrong("%v", err)
	}
	if errors.Is(err, transform.ErrForbidden) {
		return ikewire.Transform{}, wrong("%v", err)
	}
	return ikewire.Transform{}, wrong("there is no algorithm %q", word)
}

func (d *draft) readPRF(word string) (ikewire.Transform, error) {
	if d.kind == ESP {
		return ikewire.Transform{}, wrong("%q is of an IKE SA: ESP has no PRF", word)
	}
	p, err := transform.PRFByName(word)
	if err != nil {
		return ikewire.Transform{}, wrong("%v", err)
	}
	return ikewire.Transform{Type: ikewire.TransformPRF, ID: p.ID}, nil
}

// readAdditional reads an additional key exchange, "ke1_mlkem768".
func readAdditional(word string) (t ikewire.Transform, ok bool, err error) {
	place, name, cut := strings.Cut(word, "_")
	if !cut || len(place) != 3 || place[:2] != "ke" || place[2] < '1' || place[2] > '7' {
		return t, false, nil
	}
	m, err := keyexchange.ByName(name)
	if err != nil {
		return t, true, wrong("%v", err)
	}
	return ikewire.Transform{Type: ikewire.TransformADDKE1 + ikewire.TransformType(place[2]-'1'), ID: m.ID}, true, nil
}

func (d *draft) has(t ikewire.Transform) bool {
	for _, o := range d.out {
		if o.String() == t.String() {
			return true
		}
	}
	return false
}

func (d *draft) count(t ikewire.TransformType) (n int) {
	for _, o := range d.out {
		if o.Type == t {
			n++
		}
	}
	return n
}

// complete adds what follows from the rest, and refuses what cannot work (RFC 7296 section 3.3).
func (d *draft) complete() error {
	switch {
	case d.encrypts == 0:
		return wrong("has no encryption algorithm: add one, for example aes256gcm16")
	case d.aead != 0 && d.aead != d.encrypts:
		return wrong("mixes combined modes with others: make two proposals of it (RFC 7296 section 3.3)")
	case d.aead == 0 && len(d.integrity) == 0:
		return wrong("has no integrity algorithm: add one, for example sha256")
	case d.aead > 0 && len(d.integrity) > 0 && d.kind == ESP:
		return wrong("a combined mode has no integrity algorithm besides: leave %v out", d.integrity[0])
	}
	if d.kind == ESP {
		if d.count(ikewire.TransformSN) == 0 {
			d.out = append(d.out, ikewire.Transform{Type: ikewire.TransformSN, ID: esn}, ikewire.Transform{Type: ikewire.TransformSN, ID: noESN})
		}
		return nil
	}
	if d.count(ikewire.TransformPRF) == 0 {
		if err := d.derivePRFs(); err != nil {
			return err
		}
	}
	if d.aead > 0 { // an integrity algorithm was named for the sake of its PRF only
		d.out = without(d.out, ikewire.TransformINTEG)
	}
	if d.count(ikewire.TransformKE) == 0 {
		return wrong("has no key exchange: add one, for example x25519")
	}
	return nil
}

// derivePRFs takes the PRFs that are made of the integrity algorithms' functions.
func (d *draft) derivePRFs() error {
	for _, i := range d.integrity {
		p, err := transform.PRFByName("prf" + strings.TrimSuffix(i.Name, "_96"))
		if err != nil {
			return wrong("there is no PRF of %v: name one, for example prfsha256", i)
		}
		d.out = append(d.out, ikewire.Transform{Type: ikewire.TransformPRF, ID: p.ID})
	}
	if len(d.integrity) == 0 {
		return wrong("has no PRF: add one, for example prfsha256")
	}
	return nil
}

func without(ts []ikewire.Transform, t ikewire.TransformType) (out []ikewire.Transform) {
	for _, o := range ts {
		if o.Type != t {
			out = append(out, o)
		}
	}
	return out
}

// sorted orders the transforms by type.
func (d *draft) sorted() (out []ikewire.Transform) {
	for t := ikewire.TransformENCR; t <= ikewire.TransformADDKE7; t++ {
		for _, o := range d.out {
			if o.Type == t {
				out = append(out, o)
			}
		}
	}
	return out
}
