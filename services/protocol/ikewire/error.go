package ikewire

import (
	"errors"
	"fmt"
)

// Reasons why a message is refused, wrapped in a PayloadError when a payload is at fault.
var (
	// ErrTruncated: the message, or a part of it, ends before its length says.
	ErrTruncated = errors.New("ends early")
	// ErrTrailing: bytes follow where nothing can follow.
	ErrTrailing = errors.New("bytes after the end")
	// ErrTooLong: the message is, or would be, longer than MaxMessage.
	ErrTooLong = errors.New("too long")
	// ErrTooMany: more items than this package's bounds allow.
	ErrTooMany = errors.New("too many")
	// ErrDuplicate: a payload that may occur once occurs again.
	ErrDuplicate = errors.New("occurs twice")
	// ErrLength: a length that the field's type does not allow.
	ErrLength = errors.New("bad length")
	// ErrValue: a value that the RFC does not allow.
	ErrValue = errors.New("bad value")
	// ErrNested: an encrypted payload within another, or with payloads after it.
	ErrNested = errors.New("encrypted payload in a wrong place")
)

// PayloadError says which payload is malformed. Its Err wraps one of the Err… values.
type PayloadError struct {
	Type PayloadType // NoNextPayload: bytes after the last one
	Err  error
}

// Error names the payload and what is wrong with it.
func (e *PayloadError) Error() string { return fmt.Sprintf("ikewire: %s payload: %v", e.Type, e.Err) }

// Unwrap returns the reason.
func (e *PayloadError) Unwrap() error { return e.Err }

// CriticalPayloadError tells of an unknown payload whose critical bit is set; the
// whole message must be refused (RFC 7296 section 2.5).
type CriticalPayloadError struct {
	Type PayloadType
}

// Error names the payload type.
func (e *CriticalPayloadError) Error() string {
	return fmt.Sprintf("ikewire: payload type %d is critical and not supported", uint8(e.Type))
}

// VersionError tells of a message that is not of IKE's major version 2 (RFC 7296
// section 2.5).
type VersionError struct {
	Major, Minor uint8
}

// Error names the version.
func (e *VersionError) Error() string {
	return fmt.Sprintf("ikewire: IKE version %d.%d, this is version 2", e.Major, e.Minor)
}

// NotifyFor returns the notify that answers a request which Parse or ParsePayloads
// refused with err (RFC 7296 section 2.21). Whether and how it may be sent is the
// machine's decision. False means that no answer exists: not an IKEv2 message, or no
// whole header.
func NotifyFor(err error) (Notify, bool) {
	var (
		version  *VersionError
		critical *CriticalPayloadError
		payload  *PayloadError
	)
	switch {
	case errors.As(err, &version):
		return Notify{Type: InvalidMajorVersion}, version.Major > majorVersion
	case errors.As(err, &critical):
		return Notify{Type: UnsupportedCriticalPayload, Data: []byte{uint8(critical.Type)}}, true
	case errors.As(err, &payload):
		return Notify{Type: InvalidSyntax}, true
	}
	return Notify{}, false
}
