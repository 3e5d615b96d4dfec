package ikewire

import (
	"encoding/binary"
	"fmt"
)

// want returns an error unless the notify is of one of the types.
func (n Notify) want(types ...NotifyType) error {
	for _, t := range types {
		if n.Type == t {
			return nil
		}
	}
	return fmt.Errorf("%w: %s is no %s", ErrValue, n.Type, types[0])
}

// bytes returns the data when the type is right and its length in the bounds.
func (n Notify) bytes(shortest, longest int, types ...NotifyType) ([]byte, error) {
	if err := n.want(types...); err != nil {
		return nil, err
	}
	if len(n.Data) < shortest || len(n.Data) > longest {
		return nil, n.badLength()
	}
	return n.Data, nil
}

func (n Notify) badLength() error {
	return fmt.Errorf("%s: %w: data of %d bytes", n.Type, ErrLength, len(n.Data))
}

// Cookie returns the data of COOKIE: 1 to 64 bytes (RFC 7296 section 2.6).
func (n Notify) Cookie() ([]byte, error) { return n.bytes(1, 64, Cookie) }

// NewCookie returns a COOKIE notify.
func NewCookie(cookie []byte) Notify { return Notify{Type: Cookie, Data: cookie} }

// Cookie2 returns the data of COOKIE2: 8 to 64 bytes (RFC 4555 section 4.2.5).
func (n Notify) Cookie2() ([]byte, error) { return n.bytes(8, 64, Cookie2) }

// NewCookie2 returns a COOKIE2 notify.
func NewCookie2(cookie []byte) Notify { return Notify{Type: Cookie2, Data: cookie} }

// KeyExchangeMethod returns the data of INVALID_KE_PAYLOAD: the method that the
// responder wants (RFC 7296 section 1.3).
func (n Notify) KeyExchangeMethod() (uint16, error) { return n.uint16(InvalidKEPayload) }

// NewInvalidKE returns an INVALID_KE_PAYLOAD notify that asks for the method.
func NewInvalidKE(method uint16) Notify {
	return Notify{Type: InvalidKEPayload, Data: binary.BigEndian.AppendUint16(nil, method)}
}

// CriticalPayload returns the data of UNSUPPORTED_CRITICAL_PAYLOAD (RFC 7296 section 2.5).
func (n Notify) CriticalPayload() (PayloadType, error) {
	b, err := n.bytes(1, 1, UnsupportedCriticalPayload)
	if err != nil {
		return 0, err
	}
	return PayloadType(b[0]), nil
}

// WindowSize returns the data of SET_WINDOW_SIZE: at least 1 (RFC 7296 section 2.3).
func (n Notify) WindowSize() (uint32, error) {
	size, err := n.uint32(SetWindowSize)
	if err == nil && size == 0 {
		err = fmt.Errorf("%s: %w: 0", n.Type, ErrValue)
	}
	return size, err
}

// NewWindowSize returns a SET_WINDOW_SIZE notify.
func NewWindowSize(size uint32) Notify {
	return Notify{Type: SetWindowSize, Data: binary.BigEndian.AppendUint32(nil, size)}
}

// AuthLifetime returns the data of AUTH_LIFETIME: seconds until the initiator must have
// authenticated again (RFC 4478 section 3).
func (n Notify) AuthLifetime() (uint32, error) { return n.uint32(AuthLifetime) }

// NewAuthLifetime returns an AUTH_LIFETIME notify.
func NewAuthLifetime(seconds uint32) Notify {
	return Notify{Type: AuthLifetime, Data: binary.BigEndian.AppendUint32(nil, seconds)}
}

// UnknownSPI returns the data of INVALID_SPI: the SPI of a packet without an SA (RFC 7296
// section 1.5).
func (n Notify) UnknownSPI() (uint32, error) { return n.uint32(InvalidSPI) }

// UnknownMessageID returns the data of INVALID_MESSAGE_ID (RFC 7296 section 2.3).
func (n Notify) UnknownMessageID() (uint32, error) { return n.uint32(InvalidMessageID) }

// QCDToken returns the data of QUICK_CRASH_DETECTION: 16 to 128 bytes (RFC 6290 section 4.1).
func (n Notify) QCDToken() ([]byte, error) { return n.bytes(16, 128, QuickCrashDetection) }

// KeyExchangeLink returns the data of ADDITIONAL_KEY_EXCHANGE: the responder's blob that
// links IKE_FOLLOWUP_KE exchanges (RFC 9370 section 2.2.4); not empty.
func (n Notify) KeyExchangeLink() ([]byte, error) {
	return n.bytes(1, MaxMessage, AdditionalKeyExchange)
}

// NewAdditionalKeyExchange returns an ADDITIONAL_KEY_EXCHANGE notify.
func NewAdditionalKeyExchange(link []byte) Notify {
	return Notify{Type: AdditionalKeyExchange, Data: link}
}

// IPComp returns the data of IPCOMP_SUPPORTED: CPI and transform (RFC 7296 section 2.22).
func (n Notify) IPComp() (cpi uint16, transform uint8, err error) {
	b, err := n.bytes(3, MaxMessage, IPCompSupported)
	if err != nil {
		return 0, 0, err
	}
	return binary.BigEndian.Uint16(b), b[2], nil
}

func (n Notify) uint16(t NotifyType) (uint16, error) {
	b, err := n.bytes(2, 2, t)
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint16(b), nil
}

func (n Notify) uint32(t NotifyType) (uint32, error) {
	b, err := n.bytes(4, 4, t)
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint32(b), nil
}
