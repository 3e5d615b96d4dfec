package fleet

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	"sallyport.dev/sallyport/services/protocol/plan"
)

// kind is the kind of a Sync resource.
type kind uint8

const (
	kindConfig   kind = iota + 1 // config
	kindPair                     // pair/PAIR
	kindInbound                  // sa/ID/in
	kindOutbound                 // sa/ID/out
)

// resource names one Sync resource of an agent.
type resource struct {
	kind kind
	id   [16]byte
}

// Versions of an association; those of the other kinds are made from their content.
const (
	versionInstalled = 1
	versionTombstone = 2
	// versionSpent is never sent: it marks a manual half whose key is used up, as refused for good.
	versionSpent = 3
)

var configResource = resource{kind: kindConfig}

func pairResource(id plan.PairID) resource   { return resource{kindPair, id} }
func inboundResource(id plan.SAID) resource  { return resource{kindInbound, id} }
func outboundResource(id plan.SAID) resource { return resource{kindOutbound, id} }

// parseResource is the inverse of String and accepts nothing else.
func parseResource(s string) (resource, bool) {
	if s == "config" {
		return configResource, true
	}
	var r resource
	rest, isPair := strings.CutPrefix(s, "pair/")
	if isPair {
		r.kind = kindPair
	} else {
		var isSA, in, out bool
		rest, isSA = strings.CutPrefix(s, "sa/")
		if rest, in = strings.CutSuffix(rest, "/in"); in {
			r.kind = kindInbound
		} else if rest, out = strings.CutSuffix(rest, "/out"); out {
			r.kind = kindOutbound
		}
		if !isSA || in == out {
			return resource{}, false
		}
	}
	if len(rest) != 2*len(r.id) || strings.ToLower(rest) != rest {
		return resource{}, false
	}
	_, err := hex.Decode(r.id[:], []byte(rest))
	return r, err == nil
}

// String is the name on the wire.
func (r resource) String() string {
	switch r.kind {
	case kindConfig:
		return "config"
	case kindPair:
		return "pair/" + hex.EncodeToString(r.id[:])
	case kindInbound:
		return "sa/" + hex.EncodeToString(r.id[:]) + "/in"
	case kindOutbound:
		return "sa/" + hex.EncodeToString(r.id[:]) + "/out"
	}
	return fmt.Sprintf("resource %d", r.kind)
}

// contentVersion is the version of a resource that is the same as long as its content is: the first 8
// bytes of its SHA-256. 0 is left for what does not exist.
func contentVersion(m proto.Message) (uint64, error) {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return 0, fmt.Errorf("fleet: version of %s: %w", m.ProtoReflect().Descriptor().FullName(), err)
	}
	sum := sha256.Sum256(b)
	return max(binary.BigEndian.Uint64(sum[:8]), 1), nil
}
