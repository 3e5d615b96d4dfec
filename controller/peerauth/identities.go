package peerauth

import "sallyport.dev/sallyport/services/identity/pad"

// Identities reads identities as the PAD does, for the operator service.
type Identities struct{}

// CheckIdentity says what is wrong with an identity; of a peer it may be a pattern of them.
func (Identities) CheckIdentity(text string, pattern bool) (err error) {
	if pattern {
		_, err = pad.ParsePattern(text)
	} else {
		_, err = pad.ParseIdentity(text)
	}
	return err
}
