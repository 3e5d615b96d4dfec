package plan

import (
	"errors"
	"fmt"
	"strings"
)

// ErrSelector is wrapped by every error of ParseSelector.
var ErrSelector = errors.New("bad label selector")

// ParseSelector reads a label selector. Errors wrap ErrSelector, quote the text and name the position,
// counted in bytes from 1.
func ParseSelector(text string) (Selector, error) {
	if len(text) > MaxSelector {
		return Selector{}, fmt.Errorf("%w: %d bytes long; at most %d are allowed", ErrSelector, len(text), MaxSelector)
	}
	p := selectorParser{text: text}
	if p.space(); p.done() {
		return Selector{}, p.errorf(`it is empty; write "*" to select every host`)
	}
	if p.take("*") {
		if p.space(); !p.done() {
			return Selector{}, p.errorf(`"*" stands alone`)
		}
		return Selector{text: text, all: true}, nil
	}
	requirements, err := p.requirements()
	if err != nil {
		return Selector{}, err
	}
	return Selector{text: text, requirements: requirements}, nil
}

// selectorParser reads a selector from left to right; at is the next byte.
type selectorParser struct {
	text string
	at   int
}

func (p *selectorParser) requirements() ([]requirement, error) {
	var rs []requirement
	for {
		r, err := p.requirement()
		if err != nil {
			return nil, err
		}
		rs = append(rs, r)
		if p.space(); p.done() {
			return rs, nil
		}
		if !p.take(",") {
			return nil, p.errorf(`expected "," or the end`)
		}
	}
}

func (p *selectorParser) requirement() (requirement, error) {
	p.space()
	negated := p.take("!")
	key, err := p.key()
	if err != nil {
		return requirement{}, err
	}
	if negated {
		return requirement{key: key, operator: notExists}, nil
	}
	p.space()
	switch {
	case p.take("=="), p.take("="):
		return p.one(key, in)
	case p.take("!="):
		return p.one(key, notIn)
	case p.takeWord("in"):
		return p.set(key, in)
	case p.takeWord("notin"):
		return p.set(key, notIn)
	case p.done() || p.text[p.at] == ',':
		return requirement{key: key, operator: exists}, nil
	}
	return requirement{}, p.errorf(`expected "=", "!=", "in", "notin" or "," after the label %q`, key)
}

// one reads the value of k=v; it may be empty, as a label's may.
func (p *selectorParser) one(key string, o operator) (requirement, error) {
	v, err := p.value()
	return requirement{key: key, operator: o, values: []string{v}}, err
}

// set reads "(v1,v2)".
func (p *selectorParser) set(key string, o operator) (requirement, error) {
	r := requirement{key: key, operator: o}
	if p.space(); !p.take("(") {
		return r, p.errorf(`expected "(" and the values of the label %q`, key)
	}
	for {
		v, err := p.value()
		if err != nil {
			return r, err
		}
		if v == "" {
			return r, p.errorf("expected a value of the label %q", key)
		}
		r.values = append(r.values, v)
		p.space()
		switch {
		case p.take(")"):
			return r, nil
		case p.take(","):
		default:
			return r, p.errorf(`expected "," or ")"`)
		}
	}
}

// key reads a label's name; it may hold "/" besides what a value may.
func (p *selectorParser) key() (string, error) {
	p.space()
	start := p.at
	k := p.run(true)
	switch {
	case k == "" && p.done():
		return "", p.errorf("expected the name of a label")
	case k == "":
		return "", p.errorf("expected the name of a label, found %q", p.text[p.at:p.at+1])
	case !edges(k) || len(k) > 63:
		p.at = start
		return "", p.errorf("%q is not the name of a label: at most 63 characters, with a letter or digit at both ends", k)
	}
	return k, nil
}

func (p *selectorParser) value() (string, error) {
	p.space()
	start := p.at
	v := p.run(false)
	if v != "" && (!edges(v) || len(v) > 63) {
		p.at = start
		return "", p.errorf("%q is not the value of a label: at most 63 characters, with a letter or digit at both ends", v)
	}
	return v, nil
}

// run takes the longest run of a label's characters.
func (p *selectorParser) run(slash bool) string {
	start := p.at
	for !p.done() {
		c := p.text[p.at]
		if !alphanumeric(c) && c != '.' && c != '_' && c != '-' && (!slash || c != '/') {
			break
		}
		p.at++
	}
	return p.text[start:p.at]
}

func (p *selectorParser) done() bool { return p.at == len(p.text) }

func (p *selectorParser) space() {
	for !p.done() && (p.text[p.at] == ' ' || p.text[p.at] == '\t') {
		p.at++
	}
}

func (p *selectorParser) take(token string) bool {
	if !strings.HasPrefix(p.text[p.at:], token) {
		return false
	}
	p.at += len(token)
	return true
}

// takeWord is take for a word that must end at a space or a parenthesis.
func (p *selectorParser) takeWord(word string) bool {
	rest := p.text[p.at:]
	if !strings.HasPrefix(rest, word) {
		return false
	}
	if after := rest[len(word):]; after != "" && !strings.ContainsRune(" \t(", rune(after[0])) {
		return false
	}
	p.at += len(word)
	return true
}

func (p *selectorParser) errorf(format string, args ...any) error {
	return fmt.Errorf("%w %q, position %d: %s", ErrSelector, p.text, p.at+1, fmt.Sprintf(format, args...))
}

func edges(s string) bool { return alphanumeric(s[0]) && alphanumeric(s[len(s)-1]) }

func alphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
