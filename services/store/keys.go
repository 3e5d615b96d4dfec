package store

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// The key layout, relative to Config.Prefix.
//
//	incarnation                        this life of the store
//	restoring                          only while a restore runs
//	rootkey                            sealed: tells whether a root key is the right one
//	fleet                              the fleet's name and settings
//	spec/<kind>/<name>                 what operators want
//	status/<kind>/<name>               what is
//	identity/ca/<id>                   fleet CA (private part sealed)
//	identity/host/<name>               a host's recorded public key
//	identity/token/<id>                join token
//	identity/operator/<name>           operator credential
//	epoch/<host>                       the host's current epoch and stream
//	live/<host>                        leased: which controller has its stream
//	sa/key/<pair>/<generation>         sealed key material, immutable; not in a View
//	sa/phase/<pair>/<generation>       phase and acks, at most 128 bytes
//	manual/guard                       changes with every manual peer
//	manual/key/<name>                  sealed keys of a manual peer, under the root key
//	manual/phase/<host>/<uid>          which associations of a manual peer a host should hold
//	credential/<name>                  sealed secret of a credential, under the root key
//	peer/entry/<host>/<uid>            an SPD entry of a peer at a host
//	peer/wish/<name>                   what operators said of a peer beside its spec
//	ike/sa/<spi>                       sealed IKE SA
//	ike/state/<spi>                    what of it is no secret
//	ike/child/<host>/<id>              a child SA that a host should hold
//	ike/acks/<host>/<id>               what the host said of it
//	ike/key/<id>.in, ike/key/<id>.out  its sealed keys, immutable
//	ike/acquire/<host>/<uid>           a packet that wanted a child SA
//	ike/shard/<number>                 fencing token of a shard's IKE SAs
//	ipam                               address allocation
//	event/<id>                         leased
//	leader/<name>/<lease>              candidates; the oldest leads
//	intent/<scope>/<name>              leased: what operators meant, see package world
const (
	IncarnationKey = "incarnation"
	RestoringKey   = "restoring"
	RootCheckKey   = "rootkey"
	FleetKey       = "fleet"
	IPAMKey        = "ipam"
	ManualGuardKey = "manual/guard"

	SpecPrefix     = "spec/"
	StatusPrefix   = "status/"
	CAPrefix       = "identity/ca/"
	HostIDPrefix   = "identity/host/"
	TokenPrefix    = "identity/token/"
	OperatorPrefix = "identity/operator/"
	EpochPrefix    = "epoch/"
	LivePrefix     = "live/"
	SAKeyPrefix    = "sa/key/"
	SAPhasePrefix  = "sa/phase/"

	ManualKeyPrefix   = "manual/key/"
	ManualPhasePrefix = "manual/phase/"

	CredentialPrefix = "credential/"
	PeerEntryPrefix  = "peer/entry/"
	PeerWishPrefix   = "peer/wish/"
	IKESAPrefix      = "ike/sa/"
	IKEStatePrefix   = "ike/state/"
	IKEChildPrefix   = "ike/child/"
	IKEAcksPrefix    = "ike/acks/"
	IKEKeyPrefix     = "ike/key/"
	IKEAcquirePrefix = "ike/acquire/"
	IKEShardPrefix   = "ike/shard/"

	EventPrefix  = "event/"
	LeaderPrefix = "leader/"
	IntentPrefix = "intent/"
)

// Bounds of the key layout, in bytes.
const (
	MaxNameLen = 253
	MaxKeyLen  = 1024
)

// Kind is a resource kind as it stands in a key.
type Kind string

// The kinds that have a spec and a status.
const (
	KindHost      Kind = "host"
	KindPolicy    Kind = "policy"
	KindJoinToken Kind = "jointoken"

	KindManualPeer Kind = "manualpeer"
	KindPeer       Kind = "peer"
	KindCredential Kind = "credential"
)

func (k Kind) valid() bool {
	switch k {
	case KindHost, KindPolicy, KindJoinToken, KindManualPeer, KindPeer, KindCredential:
		return true
	}
	return false
}

// CheckName reports whether name can be one segment of a key: 1 to MaxNameLen
// bytes of [A-Za-z0-9._-], beginning with a letter or a digit. The error is
// ErrBadKey.
func CheckName(name string) error {
	if name == "" || len(name) > MaxNameLen {
		return fmt.Errorf("%w: a name has 1 to %d characters, not %d", ErrBadKey, MaxNameLen, len(name))
	}
	for i := range len(name) {
		if !nameByte(name[i], i == 0) {
			return fmt.Errorf("%w: name %q: character %d is not allowed (letters, digits, and after the first also . _ -)",
				ErrBadKey, name, i+1)
		}
	}
	return nil
}

func nameByte(c byte, first bool) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	case c == '.' || c == '_' || c == '-':
		return !first
	}
	return false
}

// CheckKey reports whether key can be read or written: segments of CheckName
// joined by single slashes, at most MaxKeyLen bytes. The error is ErrBadKey.
func CheckKey(key string) error {
	if len(key) > MaxKeyLen {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrBadKey, len(key), MaxKeyLen)
	}
	for segment := range strings.SplitSeq(key, "/") {
		if err := CheckName(segment); err != nil {
			return fmt.Errorf("%w (in key %q)", err, key)
		}
	}
	return nil
}

// checkPrefix is CheckKey for a prefix: empty, or a key, or a key and a slash.
func checkPrefix(prefix string) error {
	if prefix == "" {
		return nil
	}
	return CheckKey(strings.TrimSuffix(prefix, "/"))
}

func join(prefix, name string) (string, error) {
	if err := CheckName(name); err != nil {
		return "", err
	}
	return prefix + name, nil
}

func kindKey(prefix string, kind Kind, name string) (string, error) {
	if !kind.valid() {
		return "", fmt.Errorf("%w: unknown kind %q", ErrBadKey, kind)
	}
	return join(prefix+string(kind)+"/", name)
}

// SpecKey is spec/<kind>/<name>.
func SpecKey(kind Kind, name string) (string, error) { return kindKey(SpecPrefix, kind, name) }

// StatusKey is status/<kind>/<name>.
func StatusKey(kind Kind, name string) (string, error) { return kindKey(StatusPrefix, kind, name) }

// CAKey is identity/ca/<id>.
func CAKey(id string) (string, error) { return join(CAPrefix, id) }

// HostIDKey is identity/host/<name>.
func HostIDKey(host string) (string, error) { return join(HostIDPrefix, host) }

// TokenKey is identity/token/<id>.
func TokenKey(id string) (string, error) { return join(TokenPrefix, id) }

// OperatorKey is identity/operator/<name>.
func OperatorKey(name string) (string, error) { return join(OperatorPrefix, name) }

// EpochKey is epoch/<host>.
func EpochKey(host string) (string, error) { return join(EpochPrefix, host) }

// LiveKey is live/<host>; put it with the Session's lease.
func LiveKey(host string) (string, error) { return join(LivePrefix, host) }

// EventKey is event/<id>; put it with a lease of Store.SharedLease.
func EventKey(id string) (string, error) { return join(EventPrefix, id) }

// IntentKey is intent/<scope>/<name>.
func IntentKey(scope, name string) (string, error) { return joinTwo(IntentPrefix, scope, name) }

// ManualKeyKey is manual/key/<name>.
func ManualKeyKey(name string) (string, error) { return join(ManualKeyPrefix, name) }

// ManualPhaseKey is manual/phase/<host>/<uid>, with the manual peer's uid in 16 hexadecimal digits.
func ManualPhaseKey(host, uid string) (string, error) { return joinTwo(ManualPhasePrefix, host, uid) }

// ParseManualPhaseKey takes a key of ManualPhaseKey apart.
func ParseManualPhaseKey(key string) (host, uid string, err error) {
	return parseTwo(ManualPhasePrefix, key)
}

// joinTwo is <prefix><first>/<second>.
func joinTwo(prefix, first, second string) (string, error) {
	prefix, err := join(prefix, first)
	if err != nil {
		return "", err
	}
	return join(prefix+"/", second)
}

// parseTwo is the inverse of joinTwo.
func parseTwo(prefix, key string) (first, second string, err error) {
	rest, ok := strings.CutPrefix(key, prefix)
	first, second, slash := strings.Cut(rest, "/")
	if !ok || !slash {
		return "", "", fmt.Errorf("%w: %q is not %s<name>/<name>", ErrBadKey, key, prefix)
	}
	if err := CheckName(first); err != nil {
		return "", "", err
	}
	return first, second, CheckName(second)
}

func leaderPrefix(name string) (string, error) { return join(LeaderPrefix, name) }

// PairID names what an SA pair connects; its generations follow one another.
type PairID [16]byte

// String is the id as it stands in keys: 32 lower-case hexadecimal digits.
func (p PairID) String() string { return hex.EncodeToString(p[:]) }

// ParsePairID is the inverse of PairID.String and accepts nothing else.
func ParsePairID(s string) (PairID, error) {
	var p PairID
	if len(s) != hex.EncodedLen(len(p)) || strings.ToLower(s) != s {
		return PairID{}, fmt.Errorf("%w: pair id %q is not 32 lower-case hexadecimal digits", ErrBadKey, s)
	}
	if _, err := hex.Decode(p[:], []byte(s)); err != nil {
		return PairID{}, fmt.Errorf("%w: pair id %q: %v", ErrBadKey, s, err)
	}
	return p, nil
}

// SAKey is sa/key/<pair>/<generation>.
func SAKey(pair PairID, generation uint32) string { return saKey(SAKeyPrefix, pair, generation) }

// SAPhaseKey is sa/phase/<pair>/<generation>.
func SAPhaseKey(pair PairID, generation uint32) string {
	return saKey(SAPhasePrefix, pair, generation)
}

// Generations are padded to ten digits, so that keys sort as numbers do.
func saKey(prefix string, pair PairID, generation uint32) string {
	return fmt.Sprintf("%s%s/%010d", prefix, pair, generation)
}

// ParseSAKey takes a key of SAKey apart.
func ParseSAKey(key string) (PairID, uint32, error) { return parseSA(SAKeyPrefix, key) }

// ParseSAPhaseKey takes a key of SAPhaseKey apart.
func ParseSAPhaseKey(key string) (PairID, uint32, error) { return parseSA(SAPhasePrefix, key) }

func parseSA(prefix, key string) (PairID, uint32, error) {
	rest, ok := strings.CutPrefix(key, prefix)
	pairText, genText, slash := strings.Cut(rest, "/")
	if !ok || !slash || len(genText) != 10 {
		return PairID{}, 0, fmt.Errorf("%w: %q is not %s<pair>/<generation>", ErrBadKey, key, prefix)
	}
	pair, err := ParsePairID(pairText)
	if err != nil {
		return PairID{}, 0, err
	}
	generation, err := strconv.ParseUint(genText, 10, 32)
	if err != nil {
		return PairID{}, 0, fmt.Errorf("%w: generation in %q: %v", ErrBadKey, key, err)
	}
	return pair, uint32(generation), nil
}

// ParseSpecKey takes a key of SpecKey apart.
func ParseSpecKey(key string) (Kind, string, error) { return parseKind(SpecPrefix, key) }

// ParseStatusKey takes a key of StatusKey apart.
func ParseStatusKey(key string) (Kind, string, error) { return parseKind(StatusPrefix, key) }

func parseKind(prefix, key string) (Kind, string, error) {
	rest, ok := strings.CutPrefix(key, prefix)
	kind, name, slash := strings.Cut(rest, "/")
	if !ok || !slash || !Kind(kind).valid() {
		return "", "", fmt.Errorf("%w: %q is not %s<kind>/<name>", ErrBadKey, key, prefix)
	}
	return Kind(kind), name, CheckName(name)
}

// ParseName returns the single name that follows prefix in key, for the keys of
// the shape <prefix><name>: ParseName(EpochPrefix, "epoch/a") is "a".
func ParseName(prefix, key string) (string, error) {
	name, ok := strings.CutPrefix(key, prefix)
	if !ok {
		return "", fmt.Errorf("%w: %q is not under %s", ErrBadKey, key, prefix)
	}
	return name, CheckName(name)
}

// ParseIntentKey takes a key of IntentKey apart.
func ParseIntentKey(key string) (scope, name string, err error) { return parseTwo(IntentPrefix, key) }
