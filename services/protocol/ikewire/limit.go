package ikewire

// Bounds on what a message may hold. Lengths that no RFC bounds are bounded by
// MaxMessage. Everything is checked before memory is taken for it.
const (
	// MaxMessage is the longest message in bytes: what a UDP datagram can carry.
	MaxMessage = 0xffff
	// MaxPayloads is the most payloads in one message, those inside SK counted apart.
	MaxPayloads = 256
	// MaxProposals is the most proposals in an SA payload.
	MaxProposals = 128
	// MaxTransforms is the most transforms in a proposal: the count is one octet.
	MaxTransforms = 255
	// MaxTransformAttributes is the most attributes of one transform.
	MaxTransformAttributes = 16
	// MaxSelectors is the most selectors in a TS payload: the count is one octet.
	MaxSelectors = 255
	// MaxDeletes is the most SPIs in a Delete payload.
	MaxDeletes = 1024
	// MaxConfigAttributes is the most attributes in a CP payload.
	MaxConfigAttributes = 256
	// MaxFragments is the most fragments of one message, RFC 7383 section 2.5.
	MaxFragments = 256
	// MaxNotifyItems is the most items in a notify whose data is a list.
	MaxNotifyItems = 64
	// MinNonce and MaxNonce bound a nonce, RFC 7296 section 3.9.
	MinNonce = 16
	MaxNonce = 256
)
