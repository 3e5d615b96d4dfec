// Package render turns resources into what people read: tables, ages, differences, JSON and YAML.
package render

import (
	"io"
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// Style is how a cell looks on a terminal with colours.
type Style uint8

// The styles.
const (
	Plain Style = iota
	Bold
	Good
	Warning
	Bad
	Faint
)

func (s Style) sequence() string {
	switch s {
	case Bold:
		return "\x1b[1m"
	case Good:
		return "\x1b[32m"
	case Warning:
		return "\x1b[33m"
	case Bad:
		return "\x1b[31m"
	case Faint:
		return "\x1b[2m"
	default:
		return ""
	}
}

// Paint wraps text in the style's escape sequences when colour is on.
func (s Style) Paint(text string, colour bool) string {
	if seq := s.sequence(); colour && seq != "" && text != "" {
		return seq + text + "\x1b[0m"
	}
	return text
}

// Cell is one field of a table.
type Cell struct {
	Text  string
	Style Style
}

// Table is rows under a header. Columns are as wide as their widest cell; nothing is wrapped or cut.
type Table struct {
	// Header has the name of each column; without one no header is written.
	Header []string
	// Rows have a cell for each column.
	Rows [][]Cell
}

const gap = "   "

// Write writes the table. An empty cell is shown as "-", so that columns can be cut by scripts.
func (t Table) Write(w io.Writer, colour bool) error {
	return t.WriteWidths(w, colour, nil)
}

// WriteWidths is Write with columns at least so wide; it is how later rows line up with earlier ones.
func (t Table) WriteWidths(w io.Writer, colour bool, widths []int) error {
	rows := t.cells()
	widths = widest(rows, widths)
	var b strings.Builder
	for _, row := range rows {
		for i, c := range row {
			b.WriteString(c.Style.Paint(c.Text, colour))
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-Width(c.Text)) + gap)
			}
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Widths returns how wide the columns are, at least so wide as given.
func (t Table) Widths(atLeast []int) []int {
	return widest(t.cells(), atLeast)
}

// cells returns the header, if any, and the rows as they are shown.
func (t Table) cells() [][]Cell {
	rows := make([][]Cell, 0, len(t.Rows)+1)
	if len(t.Header) > 0 {
		header := make([]Cell, len(t.Header))
		for i, h := range t.Header {
			header[i] = Cell{h, Bold}
		}
		rows = append(rows, header)
	}
	for _, row := range t.Rows {
		rows = append(rows, tidy(row))
	}
	return rows
}

func tidy(row []Cell) []Cell {
	out := make([]Cell, len(row))
	for i, c := range row {
		c.Text = Clean(c.Text)
		if c.Text == "" {
			c.Text = "-"
		}
		out[i] = c
	}
	return out
}

func widest(rows [][]Cell, atLeast []int) []int {
	widths := append([]int(nil), atLeast...)
	for _, row := range rows {
		for i, c := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], Width(c.Text))
		}
	}
	return widths
}

// Width returns how many columns s takes on a terminal: two for wide East Asian characters (UAX 11),
// none for combining marks.
func Width(s string) int {
	n := 0
	for _, r := range s {
		switch {
		case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		case isWide(r):
			n += 2
		default:
			n++
		}
	}
	return n
}

func isWide(r rune) bool {
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return true
	default:
		return false
	}
}

// Clean makes foreign text safe to show in a line: control characters, which could move the cursor or
// end the row, and invisible ones, which could reorder the text, become spaces.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
}
