package ikeproposal

import (
	"fmt"
	"strings"

	"sallyport.dev/sallyport/services/protocol/ikewire"
	"sallyport.dev/sallyport/services/protocol/keyexchange"
	"sallyport.dev/sallyport/services/protocol/transform"
)

// Text writes a proposal so that Parse reads it. What has no name here gets IANA's, or its number.
func Text(ts []ikewire.Transform) string {
	words := make([]string, 0, len(ts))
	for _, t := range ts {
		words = append(words, word(t))
	}
	return strings.Join(words, "-")
}

// word is the name of one algorithm.
func word(t ikewire.Transform) string {
	bits, _ := t.KeyBits()
	switch {
	case t.Type == ikewire.TransformENCR:
		if e, err := transform.InsecureByID(t.ID, bits); err == nil {
			return e.Name
		}
	case t.Type == ikewire.TransformPRF:
		if p, err := transform.PRFByID(t.ID); err == nil {
			return p.Name
		}
	case t.Type == ikewire.TransformINTEG:
		if i, err := transform.IntegrityByID(t.ID); err == nil && t.ID != transform.IntegNone {
			return i.Name
		}
	case t.Type == ikewire.TransformSN && t.ID <= esn:
		return [...]string{noESN: "noesn", esn: "esn"}[t.ID]
	default:
		if m, err := keyexchange.ByID(t.ID); err == nil && t.Type == ikewire.TransformKE {
			return m.Name
		} else if err == nil && t.Type >= ikewire.TransformADDKE1 && t.Type <= ikewire.TransformADDKE7 {
			return fmt.Sprintf("ke%d_%s", t.Type-ikewire.TransformADDKE1+1, m.Name)
		}
	}
	return strings.ReplaceAll(t.String(), " ", "_")
}
