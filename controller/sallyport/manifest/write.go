package manifest

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/controller/sallyport/resource"
)

// Append appends r to b as one YAML document, without a "---". Parse reads it back: metadata and spec
// come out the same, status is left out by Parse. Fields stand in the API's order, unset ones are not
// written.
func Append(b []byte, r *operatorv1.Resource) []byte {
	inner, ok := resource.Inner(r)
	if !ok {
		return append(b, "{}\n"...)
	}
	b = append(b, "kind: "+string(inner.Descriptor().Name())+"\n"...)
	return appendFields(b, inner, "")
}

// AppendIntent is Append for what an operator decides: kind, name, labels and spec. Two resources of
// the same intent give the same bytes.
func AppendIntent(b []byte, r *operatorv1.Resource) []byte {
	inner, ok := resource.Inner(r)
	if !ok {
		return b
	}
	b = append(b, "kind: "+string(inner.Descriptor().Name())+"\n"...)
	intent := inner.New()
	fields := inner.Descriptor().Fields()
	if spec := fields.ByName("spec"); spec != nil && inner.Has(spec) {
		intent.Set(spec, inner.Get(spec))
	}
	md := resource.Metadata(r)
	kept := &operatorv1.Metadata{Name: md.GetName(), Labels: md.GetLabels()}
	intent.Set(fields.ByName("metadata"), protoreflect.ValueOfMessage(kept.ProtoReflect()))
	return appendFields(b, intent, "")
}

func appendFields(b []byte, m protoreflect.Message, indent string) []byte {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		if fd := fields.Get(i); m.Has(fd) {
			b = appendField(b, m.Get(fd), fd, indent)
		}
	}
	return b
}

func appendField(b []byte, v protoreflect.Value, fd protoreflect.FieldDescriptor, indent string) []byte {
	b = append(b, indent+fd.JSONName()+":"...)
	switch {
	case fd.IsMap():
		b = append(b, '\n')
		var keys []string
		v.Map().Range(func(k protoreflect.MapKey, _ protoreflect.Value) bool {
			keys = append(keys, k.String())
			return true
		})
		slices.Sort(keys)
		for _, k := range keys {
			value := v.Map().Get(protoreflect.ValueOfString(k).MapKey())
			b = append(b, indent+"  "+quoteKey(k, indent+"  ")+": "+quote(value.String())+"\n"...)
		}
	case fd.IsList():
		b = append(b, '\n')
		for i := range v.List().Len() {
			b = appendItem(b, v.List().Get(i), fd, indent)
		}
	case isMessage(fd):
		if isEmpty(v.Message()) {
			return append(b, " {}\n"...)
		}
		b = append(b, '\n')
		b = appendFields(b, v.Message(), indent+"  ")
	default:
		b = append(b, " "+scalarText(v, fd)+"\n"...)
	}
	return b
}

// appendItem writes one item of a list. A message begins on the line of its dash.
func appendItem(b []byte, v protoreflect.Value, fd protoreflect.FieldDescriptor, indent string) []byte {
	if !isMessage(fd) {
		return append(b, indent+"- "+scalarText(v, fd)+"\n"...)
	}
	if isEmpty(v.Message()) {
		return append(b, indent+"- {}\n"...)
	}
	item := string(appendFields(nil, v.Message(), indent+"  "))
	return append(b, indent+"- "+strings.TrimPrefix(item, indent+"  ")...)
}

func isEmpty(m protoreflect.Message) bool {
	empty := true
	m.Range(func(protoreflect.FieldDescriptor, protoreflect.Value) bool {
		empty = false
		return false
	})
	return empty
}

func scalarText(v protoreflect.Value, fd protoreflect.FieldDescriptor) string {
	switch fd.Kind() {
	case protoreflect.StringKind:
		return quote(v.String())
	case protoreflect.EnumKind:
		if e := fd.Enum().Values().ByNumber(v.Enum()); e != nil {
			return quote(string(e.Name()))
		}
		return strconv.Itoa(int(v.Enum()))
	case protoreflect.MessageKind:
		switch m := v.Message().Interface().(type) {
		case *durationpb.Duration:
			return FormatDuration(m.AsDuration()) // digits and units: a string to every reader
		case *timestamppb.Timestamp:
			return quote(m.AsTime().UTC().Format(time.RFC3339Nano))
		}
	}
	return fmt.Sprint(v.Interface())
}

// FormatDuration writes d without the zero units that time.Duration appends: 1h, not 1h0m0s.
func FormatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// quote writes s plain where every YAML reader takes it for a string, else in double quotes: Go's
// escapes are all YAML's (YAML 1.2.2 section 5.7).
func quote(s string) string {
	if isPlain(s) {
		return s
	}
	return strconv.Quote(s)
}

// quoteKey is quote for a key. Behind a "?" a key may be longer than 1024 characters (YAML 1.2.2 section
// 7.4.2).
func quoteKey(k, indent string) string {
	quoted := quote(k)
	if len(quoted) >= 1024 {
		return "? " + quoted + "\n" + indent
	}
	return quoted
}

func isPlain(s string) bool {
	if prefix, err := netip.ParsePrefix(s); err == nil && prefix.Addr().Is4() {
		return true
	}
	if addr, err := netip.ParseAddr(s); err == nil && addr.Is4() {
		return true
	}
	if s == "" || len(s) > 128 || !isLetter(s[0]) {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isLetter(c) && !(c >= '0' && c <= '9') && !strings.ContainsRune("._/=-", rune(c)) {
			return false
		}
	}
	switch strings.ToLower(s) {
	case "true", "false", "yes", "no", "on", "off", "y", "n", "null", "nan", "inf":
		return false
	}
	return true
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
