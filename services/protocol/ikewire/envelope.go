package ikewire

import (
	"encoding/binary"
	"fmt"
)

// Envelope is a message that ends in an SK or SKF payload, cut into what a cipher works
// on. All slices are windows of Message.
//
//	┌────────┬──────────────┬─────────────────┬────┬──────┬─────┐
//	│ header │ payloads …   │ SK(F) up to IV  │ IV │ Text │ ICV │
//	└────────┴──────────────┴─────────────────┴────┴──────┴─────┘
//	│ AAD                                     │
//	│ Authenticated                                      │
type Envelope struct {
	Message []byte      // the whole datagram
	AAD     []byte      // RFC 5282 section 5.1: associated data of an AEAD
	IV      []byte      // RFC 7296 section 3.14
	Text    []byte      // plaintext with padding, or ciphertext; its capacity includes ICV
	ICV     []byte      // 3.14
	Next    PayloadType // 3.14: type of the first payload inside
	Number  uint16      // RFC 7383 section 2.5: Fragment Number; 0 for SK
	Total   uint16      // 2.5: Total Fragments; 0 for SK
}

// Sizes are the lengths that an IKE SA's transforms give, in bytes.
type Sizes struct {
	IV    int
	Block int // the text is a multiple of it; 0 and 1 for counter modes
	ICV   int
}

func (z Sizes) block() int { return max(1, z.Block) }

// Authenticated returns what an integrity algorithm covers when the cipher is no AEAD:
// all but the ICV (RFC 7296 section 3.14).
func (e Envelope) Authenticated() []byte { return e.Message[:len(e.Message)-len(e.ICV)] }

// Envelope cuts a parsed message. False means that it has no encrypted payload. Error:
// *PayloadError with ErrLength when the payload cannot hold IV, a text of whole blocks,
// and ICV.
func (m *Message) Envelope(z Sizes) (Envelope, bool, error) {
	if len(m.Payloads) == 0 || m.raw == nil {
		return Envelope{}, false, nil
	}
	e := Envelope{Message: m.raw}
	var data []byte
	last := m.Payloads[len(m.Payloads)-1]
	switch p := last.(type) {
	case SK:
		e.Next, data = p.Next, p.Data
	case SKF:
		e.Next, e.Number, e.Total, data = p.Next, p.Number, p.Total, p.Data
	default:
		return Envelope{}, false, nil
	}
	text := len(data) - z.IV - z.ICV
	if text < 1 || text%z.block() != 0 {
		err := fmt.Errorf("%w: %d bytes for IV %d, blocks of %d and ICV %d", ErrLength, len(data), z.IV, z.block(), z.ICV)
		return Envelope{}, true, &PayloadError{last.PayloadType(), err}
	}
	e.cut(len(m.raw)-len(data), z)
	return e, true, nil
}

// cut sets the windows; aad is where the associated data ends.
func (e *Envelope) cut(aad int, z Sizes) {
	end, icv := len(e.Message), len(e.Message)-z.ICV
	e.AAD = e.Message[:aad:aad]
	e.IV = e.Message[aad : aad+z.IV : aad+z.IV]
	e.Text = e.Message[aad+z.IV : icv : end]
	e.ICV = e.Message[icv:end:end]
}

// Seal lays out a message with the payloads inside SK, padded and not yet encrypted; IV
// and ICV are zero. clear comes before SK (RFC 7296 knows no such payload, RFC 8019
// does). Errors: *PayloadError, ErrTooLong.
func Seal(h Header, clear, inside []Payload, z Sizes) (Envelope, error) {
	text, err := AppendPayloads(nil, inside)
	if err != nil {
		return Envelope{}, err
	}
	return layOut(h, clear, Envelope{Next: FirstType(inside)}, text, z)
}

// SealFragments lays out a message as fragments of at most mtu bytes each, RFC 7383
// section 2.5; clear goes into the first. Errors: *PayloadError, ErrTooLong, ErrLength
// when mtu leaves no room, ErrTooMany.
func SealFragments(h Header, clear, inside []Payload, z Sizes, mtu int) ([]Envelope, error) {
	text, err := AppendPayloads(nil, inside)
	if err != nil {
		return nil, err
	}
	clearBytes, err := appendChain(nil, clear, true)
	if err != nil {
		return nil, err
	}
	room := fragmentRoom(mtu, z)
	first := fragmentRoom(mtu-len(clearBytes), z)
	if room < 1 || first < 1 {
		return nil, fmt.Errorf("ikewire: %w: fragments of %d bytes", ErrLength, mtu)
	}
	total := 1 + max(0, len(text)-first+room-1)/room
	if total > MaxFragments {
		return nil, fmt.Errorf("ikewire: %w fragments: %d", ErrTooMany, total)
	}
	all := make([]Envelope, total)
	e := Envelope{Next: FirstType(inside), Number: 1, Total: uint16(total)}
	for i, part := 0, first; i < total; i, part = i+1, room {
		part = min(part, len(text))
		if all[i], err = layOut(h, clear, e, text[:part], z); err != nil {
			return nil, err
		}
		text, clear, e = text[part:], nil, Envelope{Number: e.Number + 1, Total: e.Total}
	}
	return all, nil
}

// fragmentRoom is the most bytes of payloads that a fragment of mtu bytes takes.
func fragmentRoom(mtu int, z Sizes) int {
	room := min(mtu, MaxMessage) - HeaderLen - genericLen - fragmentLen - z.IV - z.ICV
	if room < z.block() {
		return -1
	}
	return room/z.block()*z.block() - 1
}

func layOut(h Header, clear []Payload, e Envelope, text []byte, z Sizes) (Envelope, error) {
	data := make([]byte, z.IV, z.IV+len(text)+z.block()+z.ICV)
	data = append(data, text...)
	pad := paddingLen(len(text), z.block())
	data = append(append(data, make([]byte, pad)...), uint8(pad))
	data = append(data, make([]byte, z.ICV)...)

	var sealed Payload = SK{Next: e.Next, Data: data}
	if e.Total > 0 {
		sealed = SKF{Next: e.Next, Number: e.Number, Total: e.Total, Data: data}
	}
	m := Message{Header: h, Payloads: append(clear[:len(clear):len(clear)], sealed)}
	var err error
	if e.Message, err = m.Append(nil); err != nil {
		return Envelope{}, err
	}
	e.cut(len(e.Message)-len(data), z)
	return e, nil
}

// Intermediate returns IntAuth_A | IntAuth_P of an IKE_INTERMEDIATE message, RFC 9242
// section 3.3.2: its AAD as if it were not fragmented, with lengths that leave out IV,
// padding and ICV, and the payloads inside. e is the message's only envelope or that of
// fragment 1; inside is the decrypted text without padding, of all fragments.
func (e Envelope) Intermediate(inside []byte) []byte {
	b := append(make([]byte, 0, len(e.AAD)+len(inside)), e.AAD...)
	if e.Total > 0 {
		b = b[:len(b)-fragmentLen]
		unfragment(b)
	}
	binary.BigEndian.PutUint16(b[len(b)-2:], uint16(genericLen+len(inside)))
	setLength(b, len(b)+len(inside))
	return append(b, inside...)
}

// unfragment makes the Next Payload that announces SKF announce SK. b ends with the
// generic header of SKF.
func unfragment(b []byte) {
	at, next := nextOffset, HeaderLen
	for next < len(b)-genericLen {
		at, next = next, next+max(genericLen, int(binary.BigEndian.Uint16(b[next+2:])))
	}
	b[at] = uint8(PayloadSK)
}
