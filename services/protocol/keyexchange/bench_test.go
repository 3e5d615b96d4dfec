package keyexchange

import (
	"crypto/rand"
	"testing"
)

// BenchmarkRespond is what one IKE_SA_INIT request costs a responder.
func BenchmarkRespond(b *testing.B) {
	for _, m := range Methods() {
		b.Run(m.Name, func(b *testing.B) {
			peer := initiate(b, m).Public()
			for b.Loop() {
				if _, _, err := m.Respond(rand.Reader, peer); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
