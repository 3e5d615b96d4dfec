package yamldoc

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// Type is what a value is.
type Type int

// The types of YAML 1.2's core schema.
const (
	Null Type = iota
	Bool
	Int
	Float
	Text
	List
	Mapping
)

// TypeOf returns the type of a node or of what it is an alias of. It follows the core schema of YAML
// 1.2 (section 10.3.2), but for numbers with a leading zero: 0123 is 83 to some readers and 123 to
// others, so it is Text, and the text is as written.
func TypeOf(n *yaml.Node) Type {
	n = Value(n)
	switch n.Kind {
	case yaml.MappingNode:
		return Mapping
	case yaml.SequenceNode:
		return List
	}
	if n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		return Text
	}
	return plainType(n.Value)
}

// Describe says in words what a node is: "a list", "the number 7". It shows numbers and booleans and
// no other value.
func Describe(n *yaml.Node) string {
	if n.Kind == yaml.AliasNode {
		return "an alias"
	}
	switch TypeOf(n) {
	case Null:
		return "nothing"
	case Bool:
		return "the boolean " + n.Value
	case Int, Float:
		return "the number " + n.Value
	case List:
		return "a list"
	case Mapping:
		return "a mapping"
	default:
		return "a string"
	}
}

// plainType is the type of a scalar without quotes.
func plainType(s string) Type {
	switch s {
	case "", "~", "null", "Null", "NULL":
		return Null
	case "true", "True", "TRUE", "false", "False", "FALSE":
		return Bool
	case ".nan", ".NaN", ".NAN":
		return Float
	}
	if hex, ok := strings.CutPrefix(s, "0x"); ok && isAll(hex, "0123456789abcdefABCDEF") {
		return Int
	}
	if octal, ok := strings.CutPrefix(s, "0o"); ok && isAll(octal, "01234567") {
		return Int
	}
	if s[0] == '-' || s[0] == '+' {
		s = s[1:]
	}
	switch s {
	case ".inf", ".Inf", ".INF":
		return Float
	}
	return decimalType(s)
}

const digits = "0123456789"

// isAll is true for a string of one or more of the characters in set.
func isAll(s, set string) bool { return s != "" && strings.Trim(s, set) == "" }

// decimalType is the type of a number without its sign: 12, 1.5, 1., .5, 1e-3.
func decimalType(s string) Type {
	rest := strings.TrimLeft(s, digits)
	whole := s[:len(s)-len(rest)]
	if len(whole) > 1 && whole[0] == '0' {
		return Text
	}
	if rest == "" {
		if whole == "" {
			return Text
		}
		return Int
	}
	if after, ok := strings.CutPrefix(rest, "."); ok {
		rest = strings.TrimLeft(after, digits)
		whole += after[:len(after)-len(rest)]
	}
	if whole == "" {
		return Text
	}
	if rest == "" {
		return Float
	}
	if rest[0] != 'e' && rest[0] != 'E' {
		return Text
	}
	exponent := rest[1:]
	if exponent != "" && (exponent[0] == '-' || exponent[0] == '+') {
		exponent = exponent[1:]
	}
	if isAll(exponent, digits) {
		return Float
	}
	return Text
}
