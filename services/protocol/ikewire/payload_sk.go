package ikewire

import "fmt"

// SK is the Encrypted and Authenticated payload. It is the last one of its message.
type SK struct {
	Next PayloadType // RFC 7296 section 3.14: type of the first payload inside
	Data []byte      // 3.14: IV, ciphertext of payloads, padding and pad length, ICV
}

// PayloadType returns PayloadSK.
func (SK) PayloadType() PayloadType { return PayloadSK }

func (p SK) check() error {
	if len(p.Data) == 0 {
		return fmt.Errorf("%w: no ciphertext", ErrLength)
	}
	return nil
}

func (p SK) appendBody(b []byte) []byte { return append(b, p.Data...) }

// AppendPadding appends padding and pad length, RFC 7296 section 3.14, so that what is
// encrypted is a multiple of block bytes; block is 1 to 256. len(b) must be that of the
// payloads.
func AppendPadding(b []byte, block int) []byte {
	pad := paddingLen(len(b), block)
	return append(append(b, make([]byte, pad)...), uint8(pad))
}

// paddingLen is the number of padding bytes before the pad length.
func paddingLen(n, block int) int { return (block - (n+1)%block) % block }

// TrimPadding removes padding and pad length from a decrypted text whose ICV was right.
// Any padding that fits is accepted, as RFC 7296 section 3.14 wants. Error: ErrLength.
func TrimPadding(text []byte) ([]byte, error) {
	if len(text) == 0 {
		return nil, fmt.Errorf("ikewire: %w: no pad length", ErrLength)
	}
	end := len(text) - 1
	pad := int(text[end])
	if pad > end {
		return nil, fmt.Errorf("ikewire: %w: %d bytes of padding in %d", ErrLength, pad, end)
	}
	return text[: end-pad : end-pad], nil
}
