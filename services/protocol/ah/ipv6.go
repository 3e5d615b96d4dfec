package ah

import "sallyport.dev/sallyport/services/protocol/ipwire"

const (
	optPad1        = 0
	optHomeAddress = 0xc9 // RFC 6275 section 6.3
	optMayChange   = 0x20 // of an option's type: data may change en route, RFC 8200 section 4.2
)

// predictIPv6 turns a header and the extension headers before the AH into what the ICV is
// computed over, RFC 4302 section 3.3.3.1.2. They have been walked by Locate. Errors:
// ErrHeaders, ErrRouting, and Locate's.
func predictIPv6(h []byte, sending bool) error {
	h[0], h[1], h[2], h[3] = 6<<4, 0, 0, 0 // class, flow label
	h[7] = 0                               // hop limit
	kind, at := h[6], ipwire.IPv6HeaderLen
	for at < len(h) {
		e, err := extensionAt(h, kind, at)
		if err != nil {
			return err
		}
		header := h[e.at : e.at+e.len]
		if e.kind == ipwire.ProtoRouting {
			err = predictRouting(header, h[24:40], sending)
		} else {
			err = predictOptions(header, h[8:24])
		}
		if err != nil {
			return err
		}
		kind, at = header[0], e.at+e.len
	}
	return nil
}

// predictOptions zeroes the data of options that may change en route, their type and length
// remaining, and exchanges a home address with src, as the
// receiver does when it takes the option for true (RFC 6275 sections 9.3.1 and 11.3.2). The
// datagram is expected as it is on the wire.
func predictOptions(header, src []byte) error {
	for opts := header[2:]; len(opts) > 0; {
		if opts[0] == optPad1 {
			opts = opts[1:]
			continue
		}
		if len(opts) < 2 || 2+int(opts[1]) > len(opts) {
			return ErrHeaders
		}
		data := opts[2 : 2+int(opts[1])]
		switch {
		case opts[0] == optHomeAddress && len(data) != 16:
			return ErrHeaders
		case opts[0] == optHomeAddress:
			swap(src, data)
		case opts[0]&optMayChange != 0:
			clear(data)
		}
		opts = opts[2+len(data):]
	}
	return nil
}
