package spec

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/protocol/enrol"
)

// What a join token says when its operator does not; stored.
const (
	DefaultTokenUses = 1
	DefaultTokenLife = 24 * time.Hour
)

// nameSuffix stands for the characters that follow a name_prefix.
const nameSuffix = "00000000"

// longTokenLife is beyond what a secret in a shell history should last.
const longTokenLife = 31 * 24 * time.Hour

// CompleteJoinToken stores the defaults in t, as of now.
func CompleteJoinToken(t *operatorv1.JoinToken, now time.Time) {
	if t.Spec == nil {
		t.Spec = &operatorv1.JoinTokenSpec{}
	}
	if t.Spec.GetMaxUses() == 0 {
		t.Spec.MaxUses = DefaultTokenUses
	}
	if t.Spec.GetExpireTime() == nil {
		t.Spec.ExpireTime = timestamppb.New(now.Add(DefaultTokenLife).Truncate(time.Second))
	}
}

// CheckJoinToken checks a complete token by itself.
func CheckJoinToken(t *operatorv1.JoinToken, now time.Time) Report {
	var r Report
	s := t.GetSpec()
	switch bound, prefix := s.GetHost() != "", s.GetNamePrefix() != ""; {
	case bound == prefix:
		r.problem("spec.host", "set just one of host (a token for one host) and name_prefix (a token for hosts that are named by it)")
	case bound && !enrol.ValidName(s.GetHost()):
		r.problem("spec.host", "%s is not a name of a host: lower-case letters, digits, '-' and '.', at most 63, a letter or digit at both ends", quote(s.GetHost()))
	case prefix && !enrol.ValidName(s.GetNamePrefix()+nameSuffix):
		r.problem("spec.name_prefix", "%s and 8 characters do not make a name of a host: lower-case letters, digits, '-' and '.', at most 55, a letter or digit first", quote(s.GetNamePrefix()))
	case bound && s.GetMaxUses() != 1:
		r.problem("spec.max_uses", "is %d, but a token that is bound to host %q has one use: leave max_uses out, or use name_prefix", s.GetMaxUses(), s.GetHost())
	}
	switch end := s.GetExpireTime(); {
	case end.CheckValid() != nil:
		r.problem("spec.expire_time", "is not a time between the years 1 and 9999")
	case !end.AsTime().After(now):
		r.problem("spec.expire_time", "%s is in the past", end.AsTime().UTC().Format(time.RFC3339))
	case end.AsTime().Sub(now) > longTokenLife:
		r.warn("the token is valid until %s: a shorter life is safer", end.AsTime().UTC().Format(time.RFC3339))
	}
	return r
}
