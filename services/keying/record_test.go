package keying

import (
	"testing"

	"sallyport.dev/sallyport/services/protocol/ike"
	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// TestWhatIsToldStays: whoever asks why gets what was, and not what is being written.
func TestWhatIsToldStays(t *testing.T) {
	r := newRecords()
	note := ike.Note{Exchange: ikewire.IKEAuth, Event: ike.Asked, Detail: "one"}
	r.note("office", "sa", note)
	told := r.tell("office")
	before := len(told[0].GetLines())
	r.note("office", "sa", note)
	if len(told[0].GetLines()) != before {
		t.Error("what was told has changed")
	}
}
