package netio

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// nfGenMsgLen is the length of struct nfgenmsg, which begins the payload of every nftables message.
const nfGenMsgLen = 4

// errGeneration: the kernel's answer is not one that we know.
var errGeneration = errors.New("netio: nftables: no generation in the kernel's answer")

// generation numbers the whole nftables ruleset of this network namespace: each change, whoever makes
// it, raises it by one. To ask costs one small message.
func generation() (uint32, error) {
	req := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETGEN, 0)
	req.AddData(&nl.Nfgenmsg{NfgenFamily: unix.AF_UNSPEC, Version: nl.NFNETLINK_V0})
	answers, err := req.Execute(unix.NETLINK_NETFILTER, 0)
	if err != nil {
		return 0, fmt.Errorf("netio: nftables generation: %w", err)
	}
	if len(answers) != 1 || len(answers[0]) < nfGenMsgLen {
		return 0, errGeneration
	}
	attrs, err := nl.ParseRouteAttr(answers[0][nfGenMsgLen:])
	if err != nil {
		return 0, fmt.Errorf("netio: nftables generation: %w", err)
	}
	for _, a := range attrs {
		if a.Attr.Type == unix.NFTA_GEN_ID && len(a.Value) == 4 {
			return binary.BigEndian.Uint32(a.Value), nil
		}
	}
	return 0, errGeneration
}
