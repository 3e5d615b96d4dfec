package keyexchange

import (
	"crypto/mlkem"
	"fmt"
)

// mlkemKey is the initiator's end of ML-KEM, FIPS 203: its private form is the seed d || z.
type mlkemKey struct {
	key interface {
		Bytes() []byte
		Decapsulate(ciphertext []byte) (sharedKey []byte, err error)
	}
	encapsulation []byte
}

func parseMLKEM(id uint16, seed []byte) (agreement, error) {
	if id == MLKEM768 {
		key, err := mlkem.NewDecapsulationKey768(seed)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrPrivate, err)
		}
		return &mlkemKey{key, key.EncapsulationKey().Bytes()}, nil
	}
	key, err := mlkem.NewDecapsulationKey1024(seed)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPrivate, err)
	}
	return &mlkemKey{key, key.EncapsulationKey().Bytes()}, nil
}

func (k *mlkemKey) public() []byte { return k.encapsulation }

func (k *mlkemKey) finish(ciphertext []byte) ([]byte, error) {
	secret, err := k.key.Decapsulate(ciphertext)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPublic, err)
	}
	return secret, nil
}

func (k *mlkemKey) private() []byte { return k.key.Bytes() }

// encapsulate is the responder's end. The encapsulation key is checked as FIPS 203 section 7.2
// wants.
func (m Method) encapsulate(peer []byte) (ciphertext, secret []byte, err error) {
	var key interface {
		Encapsulate() (sharedKey, ciphertext []byte)
	}
	switch m.ID {
	case MLKEM768:
		key, err = mlkem.NewEncapsulationKey768(peer)
	case MLKEM1024:
		key, err = mlkem.NewEncapsulationKey1024(peer)
	default:
		return nil, nil, ErrUnknown
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrPublic, err)
	}
	secret, ciphertext = key.Encapsulate()
	return ciphertext, secret, nil
}
