package ike

import (
	"net/netip"
	"time"

	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// Action is one of: Persist, InstallInbound, Send, InstallOutbound, RemoveChild, MoveChildren, VerifyPeer, SignAUTH,
// FindPPK, AssignAddresses, Established, Closed, Reauthenticate, Redirected, Note.
type Action interface{ action() }

// Persist: seal and store Snapshot. What follows must not be run before it is stored.
type Persist struct{}

// Send transmits datagrams, a message or its fragments, as they are.
type Send struct {
	Path      Path
	Datagrams [][]byte
}

// Child describes a child SA, from this end.
type Child struct {
	ID                uint64 // of the child, within its machine; never used again
	Name              string // of its ChildPolicy
	Replaces          uint64 // ID of the child that this one rekeys; 0: none
	Protocol          ikewire.ProtocolID
	Inbound, Outbound uint32 // SPIs
	Encryption        EncryptionID
	Integrity         uint16 // IANA Transform ID; 0 is NONE
	KE                uint16 // method whose secret is in the keys; 0: none but the IKE SA's
	ESN               bool
	Transport         bool
	Local, Remote     []ikewire.TrafficSelector
	UDP               bool // ESP in UDP, RFC 3948
	Path              Path
	Rekey, Lifetime   time.Duration // from now; 0: never
}

// EncryptionID names a row of transform's table; the zero value is none, for AH.
type EncryptionID struct{ ID, KeyBits uint16 }

// InstallInbound: the receiving half of a child. It must be working before what follows is run.
type InstallInbound struct {
	Child  Child
	Keymat Secret // encryption key, salt, integrity key: as transform.Suite has it
}

// InstallOutbound: the sending half. What it replaces sends no more.
type InstallOutbound struct {
	Child  Child
	Keymat Secret
}

// RemoveChild removes both halves, the outbound one first.
type RemoveChild struct {
	ID                uint64
	Name              string
	Protocol          ikewire.ProtocolID
	Inbound, Outbound uint32
	// Drain: another child has its traffic; packets that are on their way should still be received for a moment.
	Drain  bool
	Reason Reason
}

// MoveChildren: all children are now between the addresses of the path (RFC 4555, or RFC 7296 section 2.23).
type MoveChildren struct {
	Path Path
	UDP  bool
}

// QuestionID names a question of one machine.
type QuestionID uint64

// VerifyPeer asks whether the peer is who it says, and what it may do. PeerVerified answers.
type VerifyPeer struct {
	ID             QuestionID
	Initiator      bool // the peer is the initiator: IDi is its identity, else IDr is
	IDi            ikewire.Identification
	IDr            ikewire.Identification // Type 0: an initiator did not ask for one
	AUTH           ikewire.AUTH           // with the data of NO_PPK_AUTH where that counts (RFC 8784)
	Certificates   []ikewire.CERT
	CertRequests   []ikewire.CERTREQ
	SignedOctets   Secret // what AUTH covers, RFC 7296 section 2.15
	PRF            uint16 // IANA Transform ID
	NullKey        Secret // the peer's SK_p, for NULL authentication (RFC 7619 section 2.1)
	InitialContact bool   // INITIAL_CONTACT
	HTTPCertLookup bool   // HTTP_CERT_LOOKUP_SUPPORTED: the peer takes hash and URL
	PPK            bool   // a post-quantum preshared key is in the keys
	Path           Path
}

// SignAUTH asks for this end's AUTH. AUTHSigned answers.
type SignAUTH struct {
	ID             QuestionID
	Initiator      bool // this end is the initiator
	LocalID        ikewire.Identification
	RemoteID       ikewire.Identification // Type 0: not known
	SignedOctets   Secret
	WithoutPPK     Secret // not nil: these are to be signed as well, for NO_PPK_AUTH
	PRF            uint16
	NullKey        Secret                  // this end's SK_p
	Hashes         []ikewire.HashAlgorithm // the peer's SIGNATURE_HASH_ALGORITHMS; nil: it said nothing, so not method 14
	CertRequests   []ikewire.CERTREQ       // the peer's
	HTTPCertLookup bool
	Methods        []ikewire.AuthAnnouncement // the peer's SUPPORTED_AUTH_METHODS
}

// FindPPK asks for a post-quantum preshared key. PPKFound answers.
type FindPPK struct {
	ID  QuestionID
	PPK ikewire.PPKID
	IDi ikewire.Identification
}

// AssignAddresses asks for the answer to a CFG_REQUEST. AddressesAssigned answers.
type AssignAddresses struct {
	ID      QuestionID
	Peer    ikewire.Identification
	Request []ikewire.ConfigAttribute
}

// Established: the peer is authenticated. InitialContact: other IKE SAs of the same two identities are dead (RFC 7296
// section 2.4).
type Established struct {
	Initiator         bool
	LocalID, RemoteID ikewire.Identification
	InitialContact    bool
	NATLocal          bool // this end is behind a NAT
	NATRemote         bool
	Path              Path
	Configuration     []ikewire.ConfigAttribute // CFG_REPLY
	MOBIKE            bool
	PPK               bool
	IKE               string // the chosen proposal, for people
}

// Closed: the association is over, all its children are removed. The machine is to be kept, and fed, until Gone.
type Closed struct {
	Reason Reason
	Detail string
}

// Reauthenticate: the caller is to initiate a new machine with the same peer, and when that is established to give
// this one DeleteIKE (RFC 7296 section 2.8.3; make before break).
type Reauthenticate struct{ Deadline time.Time }

// Redirected: the peer wants to be left for another gateway (RFC 5685). The caller initiates there; during IKE_SA_INIT
// and IKE_AUTH this machine is closed, later the caller gives it DeleteIKE.
type Redirected struct {
	Addr netip.Addr
	Name string
}

func (Persist) action()         {}
func (Send) action()            {}
func (InstallInbound) action()  {}
func (InstallOutbound) action() {}
func (RemoveChild) action()     {}
func (MoveChildren) action()    {}
func (VerifyPeer) action()      {}
func (SignAUTH) action()        {}
func (FindPPK) action()         {}
func (AssignAddresses) action() {}
func (Established) action()     {}
func (Closed) action()          {}
func (Reauthenticate) action()  {}
func (Redirected) action()      {}
func (Note) action()            {}
