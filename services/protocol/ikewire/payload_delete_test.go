package ikewire

import (
	"slices"
	"strings"
	"testing"
)

const deleteESP = "03 04 0002 c0decafe 00000100"

func TestDelete(t *testing.T) {
	checkPayloads(t, []payloadCase{
		{"IKE", Delete{Protocol: ProtocolIKE}, "01 00 0000"},
		{"ESP", NewDelete(ProtocolESP, []uint32{0xc0decafe, 0x100}), deleteESP},
		{"AH", NewDelete(ProtocolAH, []uint32{0x100}), "02 04 0001 00000100"},
		{"no SA", Delete{Protocol: ProtocolESP}, "03 04 0000"},
		{"unknown", Delete{201, [][]byte{{1, 2}}}, "c9 02 0001 0102"},
	})
	checkRefused(t, PayloadDelete, []refusedCase{
		{"half a header", "03 04 00", ErrTruncated},
		{"IKE with SPI", "01 08 0001 0102030405060708", ErrLength},
		{"IKE with SPI size", "01 08 0000", ErrLength},
		{"ESP with SPIs of 8 bytes", "03 08 0001 0102030405060708", ErrLength},
		{"ESP with SPIs of 0 bytes", "03 00 0002", ErrLength},
		{"unknown protocol, many empty SPIs", "c9 00 03ff", ErrLength},
		{"fewer than counted", "03 04 0002 c0decafe", ErrLength},
		{"more than counted", "03 04 0001 c0decafe 00000100", ErrLength},
		{"1025", "03 04 0401" + strings.Repeat("c0decafe", 1025), ErrTooMany},
	})
	checkUnsendable(t, []unsendableCase{
		{"IKE with SPI", Delete{ProtocolIKE, [][]byte{make([]byte, 8)}}, ErrLength},
		{"SPIs of two lengths", Delete{201, [][]byte{{1}, {1, 2}}}, ErrLength},
		{"empty SPI", Delete{201, [][]byte{{}}}, ErrLength},
		{"1025", NewDelete(ProtocolESP, make([]uint32, MaxDeletes+1)), ErrTooMany},
	})
	if got := NewDelete(ProtocolESP, []uint32{7, 8}).ChildSPIs(); !slices.Equal(got, []uint32{7, 8}) {
		t.Errorf("got %v", got)
	}
	if got := (Delete{201, [][]byte{{0, 0, 0, 7}}}).ChildSPIs(); got != nil {
		t.Errorf("protocol 201 has child SPIs %v", got)
	}
}

func FuzzDelete(f *testing.F) { fuzzPayload(f, PayloadDelete, deleteESP, "01 00 0000") }
