package spec

import (
	"errors"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/protocol/transform"
)

// What a policy says when its operator does not. Defaults are stored, so that a later version with
// other defaults changes no fleet.
const (
	DefaultStart     = "always"
	DefaultProposal  = "aes256gcm16"
	DefaultRekeyTime = time.Hour
	DefaultHardTime  = 8 * time.Hour
)

// Below these a pair is rekeyed all the time.
const (
	fewBytes   = 1 << 20
	fewPackets = 1000
)

// CompletePolicy stores the defaults in p.
func CompletePolicy(p *operatorv1.Policy) {
	if p.Spec == nil {
		p.Spec = &operatorv1.PolicySpec{}
	}
	if p.Spec.GetStart() == "" {
		p.Spec.Start = DefaultStart
	}
	if p.Spec.GetProposal() == "" {
		p.Spec.Proposal = DefaultProposal
	}
	if p.Spec.Lifetime == nil {
		p.Spec.Lifetime = &operatorv1.PolicyLifetime{}
	}
	l := p.Spec.GetLifetime()
	if l.GetRekeyTime() == nil {
		l.RekeyTime = durationpb.New(DefaultRekeyTime)
	}
	if l.GetHardTime() == nil {
		l.HardTime = durationpb.New(DefaultHardTime)
	}
}

// CheckPolicy checks a complete policy by itself.
func CheckPolicy(p *operatorv1.Policy) Report {
	var r Report
	checkSelector("spec.hosts", p.GetSpec().GetHosts(), &r)
	if to := p.GetSpec().GetTo(); to != "" {
		checkSelector("spec.to", to, &r)
	}
	checkProposal("spec.proposal", p.GetSpec(), &r)
	checkLifetime(p.GetSpec().GetLifetime(), &r)
	return r
}

// proposed is what has a proposal.
type proposed interface {
	GetProposal() string
	GetInsecure() bool
}

func checkProposal(field string, s proposed, r *Report) (plan.Transform, bool) {
	t, err := plan.ParseTransform(s.GetProposal(), s.GetInsecure())
	if err != nil {
		r.problem(field, "%s: %s", quote(s.GetProposal()), proposalText(err))
		return t, false
	}
	if s.GetInsecure() && !t.Insecure() {
		r.warn("spec.insecure allows nothing that %s needs: leave it out", t)
	}
	return t, true
}

// proposalText is transform's answer, with what to do.
func proposalText(err error) string {
	text := strings.TrimPrefix(err.Error(), "transform: ")
	switch {
	case errors.Is(err, transform.ErrNoIntegrity):
		return text + "; add an integrity algorithm, as in aes256-sha256"
	case errors.Is(err, transform.ErrInsecure):
		return text + "; insecure: true beside the proposal allows it all the same"
	case errors.Is(err, transform.ErrForbidden):
		return text + "; " + DefaultProposal + " is the default"
	}
	return text
}

func checkSelector(field, s string, r *Report) {
	if _, err := plan.ParseSelector(s); err != nil {
		r.problem(field, "%v", err)
	}
}

func checkLifetime(l *operatorv1.PolicyLifetime, r *Report) {
	rekey, hard := l.GetRekeyTime().AsDuration(), l.GetHardTime().AsDuration()
	if hard <= rekey {
		r.problem("spec.lifetime.hard_time", "%v is not above rekey_time (%v): traffic would stop before the next keys are there; raise hard_time or lower rekey_time", hard, rekey)
	}
	checkLimits("bytes", l.GetRekeyBytes(), l.GetHardBytes(), fewBytes, r)
	checkLimits("packets", l.GetRekeyPackets(), l.GetHardPackets(), fewPackets, r)
}

// checkLimits compares a soft limit with its hard one; 0 means no limit.
func checkLimits(unit string, rekey, hard, few uint64, r *Report) {
	switch {
	case hard != 0 && rekey >= hard:
		r.problem("spec.lifetime.hard_"+unit, "%d is not above rekey_%s (%d): traffic would stop before the next keys are there", hard, unit, rekey)
	case hard != 0 && rekey == 0:
		r.problem("spec.lifetime.rekey_"+unit, "is not set, but hard_%s is: traffic would stop at %d %s with no keys to follow; set rekey_%s below it", unit, hard, unit, unit)
	}
	if rekey != 0 && rekey < few {
		r.warn("spec.lifetime.rekey_%s is only %d: pairs with traffic will be rekeyed all the time", unit, rekey)
	}
}

// SelectionWarnings says what is odd about the hosts that a policy selects: from of them by hosts, to of
// them by `to`, when it is set, and together so many different ones.
func SelectionWarnings(p *operatorv1.Policy, from, to, together int) []string {
	var r Report
	switch mesh := p.GetSpec().GetTo() == ""; {
	case from == 0:
		r.warn("spec.hosts %q selects no host: the policy does nothing until a host has such labels", p.GetSpec().GetHosts())
	case mesh && from == 1:
		r.warn("spec.hosts %q selects one host only: a mesh needs two", p.GetSpec().GetHosts())
	case !mesh && to == 0:
		r.warn("spec.to %q selects no host: the policy does nothing until a host has such labels", p.GetSpec().GetTo())
	case !mesh && together == 1:
		r.warn("spec.hosts and spec.to select the same single host: there is no pair")
	}
	return r.Warnings
}
