package netio

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// ErrNoGuard: the guard is not loaded.
var ErrNoGuard = errors.New("netio: the guard is not loaded: there is no table of its name in nftables")

// errCounter: the kernel's answer is not one that we know.
var errCounter = errors.New("netio: nftables: no counter in the kernel's answer")

// nlaTypeMask takes the flags off an attribute's type (NLA_TYPE_MASK).
const nlaTypeMask = 0x3fff

// GuardCounters reads the guard's counters: packets dropped, by counter name. It asks the kernel and not nft, which
// reads every rule first: with thousands of policies that takes a second. Errors: ErrNoGuard, and the kernel's.
func GuardCounters(ctx context.Context, c Config) (map[string]uint64, error) {
	c = c.withDefaults()
	if err := errors.Join(c.check(), ctx.Err()); err != nil {
		return nil, err
	}
	req := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETOBJ, unix.NLM_F_DUMP)
	req.AddData(&nl.Nfgenmsg{NfgenFamily: unix.NFPROTO_INET, Version: nl.NFNETLINK_V0})
	req.AddData(nl.NewRtAttr(unix.NFTA_OBJ_TABLE, nl.ZeroTerminated(c.NFTable)))
	req.AddData(nl.NewRtAttr(unix.NFTA_OBJ_TYPE, binary.BigEndian.AppendUint32(nil, unix.NFT_OBJECT_COUNTER)))
	answers, err := req.Execute(unix.NETLINK_NETFILTER, 0)
	if err != nil {
		return nil, fmt.Errorf("netio: nftables counters: %w", err)
	}
	counters := make(map[string]uint64, len(answers))
	for _, a := range answers {
		name, packets, err := parseCounter(a)
		if err != nil {
			return nil, err
		}
		counters[name] = packets
	}
	if len(counters) == 0 {
		return nil, ErrNoGuard
	}
	return counters, nil
}

// parseCounter reads one message of the kernel's listing:
//
//	nfgenmsg ─ NFTA_OBJ_NAME ─ … ─ NFTA_OBJ_DATA { NFTA_COUNTER_BYTES, NFTA_COUNTER_PACKETS }
func parseCounter(answer []byte) (name string, packets uint64, err error) {
	if len(answer) < nfGenMsgLen {
		return "", 0, errCounter
	}
	found := false
	ok := attributes(answer[nfGenMsgLen:], func(kind uint16, value []byte) bool {
		switch kind {
		case unix.NFTA_OBJ_NAME:
			name = string(bytes.TrimRight(value, "\x00"))
		case unix.NFTA_OBJ_DATA:
			return attributes(value, func(kind uint16, value []byte) bool {
				if kind == unix.NFTA_COUNTER_PACKETS && len(value) == 8 {
					packets, found = binary.BigEndian.Uint64(value), true
				}
				return true
			})
		}
		return true
	})
	if !ok || name == "" || !found {
		return "", 0, errCounter
	}
	return name, packets, nil
}

// attributes calls visit for each netlink attribute in b, until it returns false. It reports whether it never did, and
// b is nothing but whole attributes: length and type of 16 bits each, the value, padding to 4 bytes but for the last.
func attributes(b []byte, visit func(kind uint16, value []byte) bool) bool {
	for len(b) > 0 {
		if len(b) < unix.SizeofNlAttr {
			return false
		}
		n := int(binary.NativeEndian.Uint16(b))
		if n < unix.SizeofNlAttr || n > len(b) || !visit(binary.NativeEndian.Uint16(b[2:])&nlaTypeMask, b[unix.SizeofNlAttr:n]) {
			return false
		}
		b = b[min((n+3)&^3, len(b)):]
	}
	return true
}
