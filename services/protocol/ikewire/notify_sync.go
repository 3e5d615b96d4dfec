package ikewire

import "encoding/binary"

// MessageIDSync is the data of IKEV2_MESSAGE_ID_SYNC.
type MessageIDSync struct {
	Nonce   [4]byte // RFC 6311 section 5.2
	Send    uint32  // 5.2: EXPECTED_SEND_REQ_MESSAGE_ID
	Receive uint32  // 5.2: EXPECTED_RECV_REQ_MESSAGE_ID
}

const messageIDSyncLen = 12

// MessageIDSync returns the data of IKEV2_MESSAGE_ID_SYNC.
func (n Notify) MessageIDSync() (MessageIDSync, error) {
	b, err := n.bytes(messageIDSyncLen, messageIDSyncLen, IKEv2MessageIDSync)
	if err != nil {
		return MessageIDSync{}, err
	}
	return MessageIDSync{
		Nonce:   [4]byte(b),
		Send:    binary.BigEndian.Uint32(b[4:]),
		Receive: binary.BigEndian.Uint32(b[8:]),
	}, nil
}

// NewMessageIDSync returns an IKEV2_MESSAGE_ID_SYNC notify.
func NewMessageIDSync(s MessageIDSync) Notify {
	data := binary.BigEndian.AppendUint32(s.Nonce[:], s.Send)
	return Notify{Type: IKEv2MessageIDSync, Data: binary.BigEndian.AppendUint32(data, s.Receive)}
}

// ReplayCounterSync returns the data of IPSEC_REPLAY_COUNTER_SYNC: by how much outbound
// sequence numbers were raised; 4 bytes, 8 with ESN (RFC 6311 section 5.4).
func (n Notify) ReplayCounterSync() (uint64, error) {
	if err := n.want(IPsecReplayCounterSync); err != nil {
		return 0, err
	}
	switch len(n.Data) {
	case 4:
		return uint64(binary.BigEndian.Uint32(n.Data)), nil
	case 8:
		return binary.BigEndian.Uint64(n.Data), nil
	}
	return 0, n.badLength()
}

// PuzzleTask is the data of PUZZLE.
type PuzzleTask struct {
	PRF        uint16 // RFC 8019 section 8.1: ID of a transform of type PRF
	Difficulty uint8  // 8.1: zero bits wanted
}

// PuzzleTask returns the data of PUZZLE.
func (n Notify) PuzzleTask() (PuzzleTask, error) {
	b, err := n.bytes(3, 3, Puzzle)
	if err != nil {
		return PuzzleTask{}, err
	}
	return PuzzleTask{PRF: binary.BigEndian.Uint16(b), Difficulty: b[2]}, nil
}

// AGGFRAGFlags are the data of USE_AGGFRAG.
type AGGFRAGFlags uint8

// AGGFRAG flags, RFC 9347 section 5.1.
const (
	AGGFRAGDontFragment      AGGFRAGFlags = 1 << 0 // D
	AGGFRAGCongestionControl AGGFRAGFlags = 1 << 1 // C
)

// AGGFRAGFlags returns the data of USE_AGGFRAG, reserved bits as they are.
func (n Notify) AGGFRAGFlags() (AGGFRAGFlags, error) {
	b, err := n.bytes(1, 1, UseAGGFRAG)
	if err != nil {
		return 0, err
	}
	return AGGFRAGFlags(b[0]), nil
}
