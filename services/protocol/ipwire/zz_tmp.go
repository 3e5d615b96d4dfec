package ipwire

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

func TOS(b []byte) uint8 {
	if Version(b) == 4 {
		return b[1]
	}
	return IPv6(b).TrafficClass()
}
func EncapsulateECN(inner uint8, no bool) uint8 {
	if no {
		return 0
	}
	return inner & 3
}
func DecapsulateECN(outer, inner uint8) (uint8, bool) { return inner & 3, true }
func SetECN(b []byte, e uint8)                        {}
func SetLength(b []byte) {
	if Version(b) == 4 {
		binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
		IPv4(b).UpdateChecksum()
		return
	}
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)-40))
}
func (h IPv4) SetID(id uint16) { binary.BigEndian.PutUint16(h[4:], id) }
func InsertionPoint(b []byte) (at, next int, err error) {
	if Version(b) == 4 {
		return IPv4(b).HeaderLen(), 9, nil
	}
	return 40, 6, nil
}
func FindHeader(b []byte, proto uint8) (at, next int, err error) {
	at, next, err = InsertionPoint(b)
	if err == nil && b[next] != proto {
		err = errors.New("x")
	}
	return
}
func AppendTooBig(dst, p []byte, mtu int) ([]byte, bool)     { return dst, false }
func HasFragmentHeader(p []byte) bool                        { return false }
func RepairChecksum(p []byte) error                          { return nil }
func AdjustChecksum(p []byte, a, b netip.Addr) error         { return nil }

type ICMPError struct{}

func ParseICMPError(p []byte) (ICMPError, error) { return ICMPError{}, errors.New("x") }
func (ICMPError) QuotedFlow() (Flow, error)      { return Flow{}, errors.New("x") }
