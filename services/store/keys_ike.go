package store

// The keys of peers and their IKE SAs. A uid is the identifier of a peer's child in 16 hexadecimal digits, an id that of
// an SA pair in 32; it begins with the child's uid. An spi is the controller's own of an IKE SA, in 16.

// CredentialKey is credential/<name>.
func CredentialKey(name string) (string, error) { return join(CredentialPrefix, name) }

// PeerWishKey is peer/wish/<name>.
func PeerWishKey(name string) (string, error) { return join(PeerWishPrefix, name) }

// PeerEntryKey is peer/entry/<host>/<uid>.
func PeerEntryKey(host, uid string) (string, error) { return joinTwo(PeerEntryPrefix, host, uid) }

// ParsePeerEntryKey takes a key of PeerEntryKey apart.
func ParsePeerEntryKey(key string) (host, uid string, err error) {
	return parseTwo(PeerEntryPrefix, key)
}

// IKEChildKey is ike/child/<host>/<id>.
func IKEChildKey(host, id string) (string, error) { return joinTwo(IKEChildPrefix, host, id) }

// ParseIKEChildKey takes a key of IKEChildKey apart.
func ParseIKEChildKey(key string) (host, id string, err error) { return parseTwo(IKEChildPrefix, key) }

// IKEAcksKey is ike/acks/<host>/<id>.
func IKEAcksKey(host, id string) (string, error) { return joinTwo(IKEAcksPrefix, host, id) }

// ParseIKEAcksKey takes a key of IKEAcksKey apart.
func ParseIKEAcksKey(key string) (host, id string, err error) { return parseTwo(IKEAcksPrefix, key) }

// IKEKeyKey is ike/key/<id>.in, or ike/key/<id>.out for the half that the host seals.
func IKEKeyKey(id PairID, inbound bool) string {
	if inbound {
		return IKEKeyPrefix + id.String() + ".in"
	}
	return IKEKeyPrefix + id.String() + ".out"
}

// IKESAKey is ike/sa/<spi>.
func IKESAKey(spi string) (string, error) { return join(IKESAPrefix, spi) }

// IKEStateKey is ike/state/<spi>.
func IKEStateKey(spi string) (string, error) { return join(IKEStatePrefix, spi) }

// IKEAcquireKey is ike/acquire/<host>/<uid>.
func IKEAcquireKey(host, uid string) (string, error) { return joinTwo(IKEAcquirePrefix, host, uid) }

// ParseIKEAcquireKey takes a key of IKEAcquireKey apart.
func ParseIKEAcquireKey(key string) (host, uid string, err error) {
	return parseTwo(IKEAcquirePrefix, key)
}

// IKEShardKey is ike/shard/<number>.
func IKEShardKey(number string) (string, error) { return join(IKEShardPrefix, number) }
