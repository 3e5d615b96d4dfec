package manual

import (
	"bytes"
	"encoding/hex"
	"math"

	"go.yaml.in/yaml/v3"

	"sallyport.dev/sallyport/agent/datapath"
	"sallyport.dev/sallyport/services/protocol/transform"
	"sallyport.dev/sallyport/services/yamldoc"
)

// leastSPI: those below are IANA's, RFC 4303 section 2.1.
const leastSPI = 256

// association reads the SA of one direction. Without a known suite its key is not looked at.
func (d *decoder) association(m fields, direction string, spec datapath.SA, suite transform.Suite, known bool) SA {
	e, given := m[direction]
	if !given {
		return SA{}
	}
	names := []string{"spi", "key", "key-file"}
	if direction == "in" {
		names = append(names, "source", "destination")
	}
	a, ok := d.mapping(e.value, direction, names)
	if !ok {
		return SA{}
	}
	if _, given := a["spi"]; !given {
		d.fail(e.value, nil, "spi of %s is missing", direction)
	}
	spec.SPI = uint32(d.number(a, "spi", leastSPI, math.MaxUint32))
	spec.Source, spec.Destination = d.address(a, "source"), d.address(a, "destination")
	if source, given := a["source"]; given && !spec.Destination.IsValid() {
		d.fail(source.key, nil, "source needs destination: an SA is looked up by SPI, by SPI and destination, or by all three (RFC 4301 section 4.1)")
	}
	sa := SA{Spec: spec, Keymat: d.keymat(a, e.value, direction, suite, known)}
	if len(sa.Keymat) > 0 {
		sa.Fingerprint, sa.whole = fingerprint(countedKey(suite, sa.Keymat)), fingerprint(sa.Keymat)
	}
	return sa
}

// keymat reads a key of the suite's length. No message shows any of it.
func (d *decoder) keymat(a fields, n *yaml.Node, direction string, suite transform.Suite, known bool) transform.Keymat {
	inline, given := a["key"]
	file, filed := a["key-file"]
	d.inline = d.inline || given
	var text []byte
	switch {
	case given == filed:
		d.fail(n, nil, "%s: give key or key-file, one of them", direction)
		return nil
	case given:
		n = inline.value
		if t := yamldoc.TypeOf(n); t != yamldoc.Text && t != yamldoc.Int {
			d.fail(n, ErrKey, "key of %s must be hexadecimal digits in quotes", direction)
			return nil
		}
		text = []byte(n.Value)
	default:
		n = file.value
		path, ok := d.text(n, "key-file")
		if !ok {
			return nil
		}
		var err error
		if text, err = d.readKey(path); err != nil {
			d.fail(n, err, "key-file of %s: %v", direction, err)
			return nil
		}
	}
	defer clear(text)
	digits := bytes.TrimPrefix(bytes.TrimSpace(text), []byte("0x"))
	keymat := make(transform.Keymat, hex.DecodedLen(len(digits)))
	if _, err := hex.Decode(keymat, digits); err != nil || len(digits) == 0 {
		clear(keymat)
		d.fail(n, ErrKey, "key of %s: want an even number of hexadecimal digits, 0x may stand before them", direction)
		return nil
	}
	if want := keymatLen(suite); known && len(keymat) != want {
		clear(keymat)
		d.fail(n, transform.ErrKeyLength, "key of %s has %d bytes, and the proposal needs %d: %s", direction, len(keymat), want, parts(suite))
		return nil
	}
	if !known {
		clear(keymat)
		return nil
	}
	return keymat
}
