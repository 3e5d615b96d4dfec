package manifest

import (
	"bytes"
	"slices"
)

// chunk is the text of one YAML document and how many lines stand before it.
type chunk struct {
	text []byte
	line int // lines before the chunk
}

// split cuts a stream at its document markers. YAML 1.2.2 section 9.1.2: "---" or "..." at the start
// of a line, before white space or the end, always ends a document, even within a scalar. Each
// document is parsed by itself, so that an error in one does not hide the next, the bound of a
// document's size holds, and an alias finds no anchor of another document.
func split(data []byte) []chunk {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	var chunks []chunk
	start, startLine, line := 0, 0, 0
	for pos := 0; pos < len(data); line++ {
		end := len(data)
		if i := bytes.IndexByte(data[pos:], '\n'); i >= 0 {
			end = pos + i + 1
		}
		switch {
		case isMarker(data[pos:end], "---"):
			chunks = append(chunks, chunk{data[start:pos], startLine})
			start, startLine = pos, line
		case isMarker(data[pos:end], "..."):
			chunks = append(chunks, chunk{data[start:pos], startLine})
			start, startLine = end, line+1
		}
		pos = end
	}
	chunks = append(chunks, chunk{data[start:], startLine})
	return slices.DeleteFunc(chunks, func(c chunk) bool { return !hasContent(c.text) })
}

func isMarker(line []byte, marker string) bool {
	rest, ok := bytes.CutPrefix(line, []byte(marker))
	return ok && (len(rest) == 0 || bytes.IndexByte([]byte(" \t\r\n"), rest[0]) >= 0)
}

// hasContent is false for a chunk of blank lines, comments and %YAML directives, perhaps after a "---".
func hasContent(text []byte) bool {
	if isMarker(text, "---") {
		text = text[3:]
	}
	for line := range bytes.Lines(text) {
		trimmed := bytes.TrimSpace(line)
		if len(trimmed) > 0 && trimmed[0] != '#' && line[0] != '%' {
			return true
		}
	}
	return false
}
