package ike

import (
	"time"

	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// taskKind is what an exchange of ours is for.
type taskKind string

const (
	taskInit         taskKind = "IKE_SA_INIT"
	taskIntermediate taskKind = "IKE_INTERMEDIATE"
	taskAuth         taskKind = "IKE_AUTH"
	taskAuthFailed   taskKind = "telling that authentication failed"
	taskCreate       taskKind = "creating a child SA"
	taskRekey        taskKind = "rekeying a child SA"
	taskRekeyIKE     taskKind = "rekeying the IKE SA"
	taskDelete       taskKind = "deleting a child SA"
	taskDeleteIKE    taskKind = "deleting the IKE SA"
	taskDropIKE      taskKind = "deleting a replaced IKE SA"
	taskProbe        taskKind = "probing the peer"
	taskPath         taskKind = "checking an address of the peer"
	taskMove         taskKind = "moving to other addresses"
	taskRedirect     taskKind = "redirecting the peer"
)

// task is an exchange that this end wants to begin, or has begun.
type task struct {
	Kind      taskKind
	Name      string         // of a child policy
	Child     uint64         // ID of a child that there is
	SA        ikewire.IKESPI // local SPI of the IKE SA to use; zero: the current one
	Packet    *Packet        // CreateChild's
	Path      *Path          // of taskPath and taskMove
	Notifies  []ikewire.Notify
	NotBefore time.Time
	Tries     int    // times that it was begun
	Method    uint16 // of KE; 0: our first choice
	Why       string
	Offer     *offer // while it is under way
	Cookie2   []byte
	Follow    *followup // IKE_FOLLOWUP_KE exchanges of it that are yet to be done

	// Of taskDelete when this end has no child: what is to be deleted at the peer.
	Protocol ikewire.ProtocolID
	SPI      uint32
}

// offer is what this end has put into a request that makes an SA.
type offer struct {
	Name      string // of the child policy
	Proposals []ikewire.Proposal
	SPI       uint32         // inbound, of a child
	IKESPI    ikewire.IKESPI // of an IKE SA
	Nonce     key
	Private   key // of the KE payload's method; nil: no KE payload
	Method    uint16
	TSi, TSr  []ikewire.TrafficSelector
	Transport bool
	// Deleted are SPIs that the peer has deleted meanwhile and that this end does not know: the answer may bring one.
	Deleted []uint32
	// Rival is what a crossing exchange of the peer has made meanwhile: a child's ID, or an IKE SA's local SPI.
	Rival    uint64
	RivalIKE ikewire.IKESPI
}

// request is a request of this end without an answer: exact bytes, for retransmission.
type request struct {
	ID        uint32
	Exchange  ikewire.ExchangeType
	Datagrams [][]byte
	Path      Path
	Attempt   int       // retransmissions so far
	Next      time.Time // of the next one
	Began     time.Time
	Task      task
}
