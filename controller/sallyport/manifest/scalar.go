package manifest

import (
	"math"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"sallyport.dev/sallyport/services/yamldoc"
)

const (
	durationName  protoreflect.FullName = "google.protobuf.Duration"
	timestampName protoreflect.FullName = "google.protobuf.Timestamp"
)

// scalar decodes a value of fd's type. On false the error is recorded.
func (d *decoder) scalar(n *yaml.Node, fd protoreflect.FieldDescriptor, what string) (protoreflect.Value, bool) {
	switch fd.Kind() {
	case protoreflect.StringKind:
		if isSecret(fd) && yamldoc.TypeOf(n) != yamldoc.Text {
			d.fail(d.where(n), "%s must be a string: put it in quotes", what) // and is shown to nobody
			return protoreflect.Value{}, false
		}
		s, ok := d.text(n, what)
		return protoreflect.ValueOfString(s), ok
	case protoreflect.BoolKind:
		if yamldoc.TypeOf(n) != yamldoc.Bool {
			d.fail(d.where(n), "%s must be true or false, this is %s", what, yamldoc.Describe(n))
			return protoreflect.Value{}, false
		}
		return protoreflect.ValueOfBool(strings.EqualFold(n.Value, "true")), true
	case protoreflect.Int32Kind, protoreflect.Sint32Kind:
		v, ok := d.signed(n, what, 32)
		return protoreflect.ValueOfInt32(int32(v)), ok
	case protoreflect.Int64Kind, protoreflect.Sint64Kind:
		v, ok := d.signed(n, what, 64)
		return protoreflect.ValueOfInt64(v), ok
	case protoreflect.Uint32Kind:
		v, ok := d.unsigned(n, what, 32)
		return protoreflect.ValueOfUint32(uint32(v)), ok
	case protoreflect.Uint64Kind:
		v, ok := d.unsigned(n, what, 64)
		return protoreflect.ValueOfUint64(v), ok
	case protoreflect.MessageKind:
		return d.wellKnown(n, fd, what)
	default:
		d.fail(d.where(n), "%s cannot be written in a file", what)
		return protoreflect.Value{}, false
	}
}

// isSecret is true for a field that must not be shown.
func isSecret(fd protoreflect.FieldDescriptor) bool {
	options, ok := fd.Options().(*descriptorpb.FieldOptions)
	return ok && options.GetDebugRedact()
}

// text decodes a string: the text as it was written. Numbers, booleans and nulls are refused rather
// than taken as text: in the hands of another tool 1.10 would become 1.1.
func (d *decoder) text(n *yaml.Node, what string) (string, bool) {
	switch yamldoc.TypeOf(n) {
	case yamldoc.Text:
		return n.Value, true
	case yamldoc.Int, yamldoc.Float, yamldoc.Bool:
		d.fail(d.where(n), "%s must be a string, this is %s: put it in quotes", what, yamldoc.Describe(n))
	default:
		d.fail(d.where(n), "%s must be a string, this is %s", what, yamldoc.Describe(n))
	}
	return "", false
}

// digits returns the text of a number. As in protojson a 64-bit number may be a string.
func (d *decoder) digits(n *yaml.Node, what string) (string, bool) {
	switch yamldoc.TypeOf(n) {
	case yamldoc.Int, yamldoc.Text:
		return n.Value, true
	default:
		d.fail(d.where(n), "%s must be a whole number, this is %s", what, yamldoc.Describe(n))
		return "", false
	}
}

func (d *decoder) signed(n *yaml.Node, what string, bits int) (int64, bool) {
	s, ok := d.digits(n, what)
	if !ok {
		return 0, false
	}
	v, err := strconv.ParseInt(s, 10, bits)
	if err != nil {
		d.fail(d.where(n), "%s must be a whole number of %d bits in decimal digits, this is %q", what, bits, s)
		return 0, false
	}
	return v, true
}

// unsigned decodes a number that may be written in hexadecimal too, as SPIs are.
func (d *decoder) unsigned(n *yaml.Node, what string, bits int) (uint64, bool) {
	s, ok := d.digits(n, what)
	if !ok {
		return 0, false
	}
	base := 10
	hex, isHex := strings.CutPrefix(s, "0x")
	if isHex {
		s, base = hex, 16
	}
	v, err := strconv.ParseUint(s, base, bits)
	if err != nil {
		d.fail(d.where(n), "%s must be a whole number from 0 to %d in decimal digits, or 0x and hexadecimal ones, this is %q", what, uint64(math.MaxUint64)>>(64-bits), n.Value)
		return 0, false
	}
	return v, true
}

// wellKnown decodes a duration or a timestamp.
func (d *decoder) wellKnown(n *yaml.Node, fd protoreflect.FieldDescriptor, what string) (protoreflect.Value, bool) {
	ok := yamldoc.TypeOf(n) == yamldoc.Text
	if fd.Message().FullName() == durationName {
		if ok {
			if v, err := time.ParseDuration(n.Value); err == nil {
				return protoreflect.ValueOfMessage(durationpb.New(v).ProtoReflect()), true
			}
		}
		d.fail(d.where(n), "%s must be a duration such as 90s, 30m or 1h30m, this is %s", what, quoted(n))
		return protoreflect.Value{}, false
	}
	if ok {
		if v, err := time.Parse(time.RFC3339Nano, n.Value); err == nil {
			return protoreflect.ValueOfMessage(timestamppb.New(v).ProtoReflect()), true
		}
	}
	d.fail(d.where(n), "%s must be a time such as 2026-01-31T12:00:00Z (RFC 3339), this is %s", what, quoted(n))
	return protoreflect.Value{}, false
}

// quoted is yamldoc.Describe, but shows a string.
func quoted(n *yaml.Node) string {
	if yamldoc.TypeOf(n) == yamldoc.Text {
		return strconv.Quote(n.Value)
	}
	return yamldoc.Describe(n)
}
