package yamldoc

import (
	"bytes"
	"fmt"
	"unicode"
	"unicode/utf8"
)

// checkCharacters refuses what YAML does (YAML 1.2.2 section 5.1), and what YAML 1.1 takes for a line
// break and YAML 1.2 or an editor does not: such a line could hide behind a comment.
func checkCharacters(text []byte) *Error {
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			return errorAt(text, i, "this is not UTF-8")
		case r == '\r' && (i+1 == len(text) || text[i+1] != '\n'):
			return errorAt(text, i, "a carriage return without a line feed: end lines by a line feed")
		case r == '\t' || r == '\n' || r == '\r':
		case unicode.IsControl(r), r == '\u2028', r == '\u2029', r == '\ufeff', r == '\ufffe', r == '\uffff':
			return errorAt(text, i, fmt.Sprintf(`the character U+%04X cannot stand here: write it as "\u%04x", in double quotes`, r, r))
		}
		i += size
	}
	return nil
}

// errorAt returns an error for the character at an offset.
func errorAt(text []byte, offset int, problem string) *Error {
	start := bytes.LastIndexByte(text[:offset], '\n') + 1
	return &Error{
		Line:    bytes.Count(text[:start], []byte("\n")) + 1,
		Column:  utf8.RuneCount(text[start:offset]) + 1,
		Problem: problem,
	}
}
