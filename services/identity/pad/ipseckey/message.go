package ipseckey

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const typeIPSECKEY dnsmessage.Type = 45 // IANA

const (
	udpBytes   = 1232 // what every path carries unfragmented
	maxAliases = 8
	maxRecords = 16 // of one name
	maxAnswers = 64
)

// question writes a query: recursion desired, AD set (RFC 6840 section 5.7), CD clear.
func question(id uint16, owner string) ([]byte, error) {
	name, err := dnsmessage.NewName(owner + ".")
	if err != nil {
		return nil, fmt.Errorf("%w: %q: %w", ErrName, owner, err)
	}
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{ID: id, RecursionDesired: true, AuthenticData: true})
	if err := b.StartQuestions(); err != nil {
		return nil, err
	}
	if err := b.Question(dnsmessage.Question{Name: name, Type: typeIPSECKEY, Class: dnsmessage.ClassINET}); err != nil {
		return nil, err
	}
	if err := b.StartAdditionals(); err != nil {
		return nil, err
	}
	var h dnsmessage.ResourceHeader
	if err := h.SetEDNS0(udpBytes, dnsmessage.RCodeSuccess, false); err != nil {
		return nil, err
	}
	if err := b.OPTResource(h, dnsmessage.OPTResource{}); err != nil {
		return nil, err
	}
	return b.Finish()
}

// reply is what a server said.
type reply struct {
	records   []Record
	broken    int           // records that could not be read
	ttl       time.Duration // the least of the answer; 0 without one
	secure    bool          // AD
	truncated bool          // TC: ask again by TCP
	rcode     dnsmessage.RCode
}

// errStray: a message is no answer to the question; the answer may still come.
var errStray = errors.New("the message answers another question")

// parseReply reads the answer to a question. Errors: errStray, or what is wrong with the answer.
func parseReply(id uint16, owner string, message []byte) (reply, error) {
	var p dnsmessage.Parser
	h, err := p.Start(message)
	if err != nil {
		return reply{}, errStray
	}
	q, err := p.Question()
	if err != nil || h.ID != id || !h.Response || h.OpCode != 0 || q.Type != typeIPSECKEY || q.Class != dnsmessage.ClassINET ||
		!sameName(q.Name.String(), owner) {
		return reply{}, errStray
	}
	if _, err := p.Question(); err != dnsmessage.ErrSectionDone {
		return reply{}, errStray
	}
	r := reply{secure: h.AuthenticData && !h.CheckingDisabled, truncated: h.Truncated, rcode: h.RCode}
	if r.truncated || r.rcode != dnsmessage.RCodeSuccess {
		return r, nil
	}
	return r, r.readAnswers(&p, owner)
}

// readAnswers keeps the records at the end of owner's aliases.
func (r *reply) readAnswers(p *dnsmessage.Parser, owner string) error {
	all, err := r.gather(p)
	if err != nil {
		return err
	}
	end, err := all.follow(canonical(owner))
	if err != nil {
		return err
	}
	if len(all.data[end]) > maxRecords {
		return fmt.Errorf("more than %d IPSECKEY records", maxRecords)
	}
	for _, d := range all.data[end] {
		record, err := ParseRecord(d)
		if err != nil {
			r.broken++
			continue
		}
		r.records = append(r.records, record)
	}
	return nil
}

// answers is the answer section by owner: its order says nothing.
type answers struct {
	aliases map[string]string
	data    map[string][][]byte
}

func (r *reply) gather(p *dnsmessage.Parser) (answers, error) {
	all := answers{map[string]string{}, map[string][][]byte{}}
	for n := 0; ; n++ {
		h, err := p.AnswerHeader()
		if err == dnsmessage.ErrSectionDone {
			return all, nil
		}
		if err == nil && n == maxAnswers {
			err = fmt.Errorf("more than %d records in the answer", maxAnswers)
		}
		if err == nil {
			err = r.take(p, h, all)
		}
		if err != nil {
			return answers{}, err
		}
	}
}

// take reads one record. Others than CNAME and IPSECKEY are skipped: RRSIG, and DNAME, whose CNAME is in the
// answer too.
func (r *reply) take(p *dnsmessage.Parser, h dnsmessage.ResourceHeader, all answers) error {
	name := canonical(h.Name.String())
	switch {
	case h.Class == dnsmessage.ClassINET && h.Type == dnsmessage.TypeCNAME:
		c, err := p.CNAMEResource()
		if err != nil {
			return err
		}
		if _, twice := all.aliases[name]; twice {
			return fmt.Errorf("%s is an alias twice", name)
		}
		all.aliases[name] = canonical(c.CNAME.String())
	case h.Class == dnsmessage.ClassINET && h.Type == typeIPSECKEY:
		u, err := p.UnknownResource()
		if err != nil {
			return err
		}
		all.data[name] = append(all.data[name], u.Data)
	default:
		return p.SkipAnswer()
	}
	r.age(h.TTL)
	return nil
}

// follow returns the name at the end of the aliases.
func (a answers) follow(name string) (string, error) {
	for range maxAliases + 1 {
		next, alias := a.aliases[name]
		if !alias {
			return name, nil
		}
		name = next
	}
	return "", fmt.Errorf("more than %d aliases", maxAliases)
}

// age keeps the least TTL of what the answer rests on; RFC 2181 section 8: a set top bit means zero.
func (r *reply) age(seconds uint32) {
	ttl := time.Second
	if seconds < 1<<31 {
		ttl = max(ttl, time.Duration(seconds)*time.Second)
	}
	if r.ttl == 0 || ttl < r.ttl {
		r.ttl = ttl
	}
}

func canonical(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }
func sameName(a, b string) bool    { return canonical(a) == canonical(b) }
