package manifest

import (
	"bytes"
)

// chunk is the text of one YAML document and how many lines stand before it.
type chunk struct {
	text []byte
	line int // lines before the chunk
}

// split cuts a stream at its document markers. YAML 1.2.2 section 9.1.2: "---" or "..." at the start
// of a line, before white space or the end, always ends a document, even within a scalar. Each
// document is parsed by itself, so that an error in one does not hide the next.
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
	return blankMarkers(chunks)
}

func isMarker(line []byte, marker string) bool {
	rest, ok := bytes.CutPrefix(line, []byte(marker))
	return ok && (len(rest) == 0 || bytes.IndexByte([]byte(" \t\r\n"), rest[0]) >= 0)
}

// blankMarkers overwrites a leading "---" by spaces, which keeps the columns of what follows it, and
// drops chunks without content.
func blankMarkers(chunks []chunk) []chunk {
	kept := chunks[:0]
	for _, c := range chunks {
		if isMarker(c.text, "---") {
			c.text = append([]byte("   "), c.text[3:]...)
		}
		if hasContent(c.text) {
			kept = append(kept, c)
		}
	}
	return kept
}

// hasContent is false for a chunk of blank lines, comments and %YAML directives.
func hasContent(text []byte) bool {
	for line := range bytes.Lines(text) {
		trimmed := bytes.TrimSpace(line)
		if len(trimmed) > 0 && trimmed[0] != '#' && line[0] != '%' {
			return true
		}
	}
	return false
}
