package uplink

import (
	"encoding/hex"
	"strings"

	"sallyport.dev/sallyport/agent/datapath"
)

// kind is the kind of a Sync resource.
type kind uint8

const (
	kindConfig   kind = iota + 1 // config
	kindPair                     // pair/PAIR
	kindInbound                  // sa/ID/in
	kindOutbound                 // sa/ID/out
)

// name is a resource name taken apart: PAIR and ID are 32 lower-case hexadecimal digits.
type name struct {
	kind kind
	id   [16]byte
}

var configName = name{kind: kindConfig}

func pairName(id datapath.PairID) name { return name{kind: kindPair, id: id} }

func saName(id datapath.SAID, inbound bool) name {
	if inbound {
		return name{kind: kindInbound, id: id}
	}
	return name{kind: kindOutbound, id: id}
}

// parseName is the inverse of String and accepts nothing else.
func parseName(s string) (name, bool) {
	if s == "config" {
		return configName, true
	}
	var n name
	rest, isPair := strings.CutPrefix(s, "pair/")
	if isPair {
		n.kind = kindPair
	} else {
		var isSA, in, out bool
		rest, isSA = strings.CutPrefix(s, "sa/")
		if rest, in = strings.CutSuffix(rest, "/in"); in {
			n.kind = kindInbound
		} else if rest, out = strings.CutSuffix(rest, "/out"); out {
			n.kind = kindOutbound
		}
		if !isSA || in == out {
			return name{}, false
		}
	}
	if len(rest) != 32 || strings.ToLower(rest) != rest {
		return name{}, false
	}
	_, err := hex.Decode(n.id[:], []byte(rest))
	return n, err == nil
}

// String is the name on the wire.
func (n name) String() string {
	switch n.kind {
	case kindConfig:
		return "config"
	case kindPair:
		return "pair/" + hex.EncodeToString(n.id[:])
	case kindInbound:
		return "sa/" + hex.EncodeToString(n.id[:]) + "/in"
	default:
		return "sa/" + hex.EncodeToString(n.id[:]) + "/out"
	}
}
