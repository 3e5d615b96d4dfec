package operator

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/fault"
	"sallyport.dev/sallyport/services/operator/spec"
	"sallyport.dev/sallyport/services/store"
)

// credentialWrite is a credential as it was and as it will be.
type credentialWrite struct {
	before *operatorv1.Credential // nil: there is none
	after  *operatorv1.Credential // without its secret
	secret []byte                 // new; nil: what is stored stays
	stored bool                   // there is a stored secret
	report spec.Report
}

// prepareCredential completes and checks a credential, by itself and with the secret that is stored. Whoever calls it
// clears the secret.
func (d *draft) prepareCredential(want *operatorv1.Credential) (w credentialWrite, err error) {
	name := want.GetMetadata().GetName()
	before := &operatorv1.Credential{}
	revision, err := d.get(keyPrefix(kindCredential)+name, before)
	if err != nil {
		return w, err
	}
	if revision != 0 {
		before.Metadata.Revision = revision
		w.before = before
	}
	w.after = &operatorv1.Credential{Metadata: want.GetMetadata(), Spec: proto.CloneOf(want.GetSpec())}
	if w.after.Spec == nil {
		w.after.Spec = &operatorv1.CredentialSpec{}
	}
	w.secret, w.report = spec.CheckCredential(w.after)
	key := store.CredentialPrefix + name
	kv, found := d.snapshot.Get(key)
	d.compare(store.Unchanged(key, kv.ModRevision))
	w.stored = found
	return w, d.keepSecret(&w)
}

// keepSecret marks the secret by its fingerprint, and redacts it.
func (d *draft) keepSecret(w *credentialWrite) (err error) {
	s, was := w.after.Spec, w.before.GetSpec()
	mark := s.GetFingerprint()
	given := s.GetSecret() != "" && s.GetSecret() != spec.Redacted
	s.Secret, s.Fingerprint = "", ""
	if !spec.HasSecret(s) {
		return nil
	}
	s.Secret = spec.Redacted
	switch {
	case w.secret != nil:
		s.Fingerprint, err = d.service.store.Fingerprint(w.secret)
		return err
	case given: // reported
	case w.before == nil || !w.stored:
		w.report.Problem("spec.secret", "is missing: give it")
	case was.GetType() != s.GetType():
		w.report.Problem("spec.secret", "is not given, and the stored one is of type %s: give it", was.GetType())
	case mark != "" && mark != was.GetFingerprint():
		w.report.Problem("spec.secret", "is not given, and the fingerprint %s is of another one than the stored one (%s): give it", brief(mark), was.GetFingerprint())
	default:
		s.Fingerprint = was.GetFingerprint()
	}
	return nil
}

func (d *draft) createCredential(want *operatorv1.Credential) (*operatorv1.Credential, []string, error) {
	name := want.GetMetadata().GetName()
	w, err := d.prepareCredential(want)
	defer clear(w.secret)
	switch {
	case err != nil:
		return nil, nil, err
	case w.before != nil:
		return nil, nil, alreadyExists(kindCredential, name)
	}
	if err := invalid(kindCredential, name, w.report); err != nil {
		return nil, nil, err
	}
	w.after.Metadata = d.metadata(want.GetMetadata())
	return w.after, w.report.Warnings, d.writeCredential(w)
}

func (d *draft) updateCredential(want *operatorv1.Credential) (before, after *operatorv1.Credential, warnings []string, err error) {
	name := want.GetMetadata().GetName()
	w, err := d.prepareCredential(want)
	defer clear(w.secret)
	switch {
	case err != nil:
		return nil, nil, nil, err
	case w.before == nil:
		return nil, nil, nil, absent(kindCredential, want.GetMetadata())
	}
	if err := invalid(kindCredential, name, w.report); err != nil {
		return nil, nil, nil, err
	}
	w.after.Metadata = relabelled(w.before.GetMetadata(), want.GetMetadata())
	if sameLabels(w.before.GetMetadata(), w.after.GetMetadata()) && proto.Equal(w.before.GetSpec(), w.after.GetSpec()) &&
		w.stored == spec.HasSecret(w.after.GetSpec()) {
		return w.before, w.before, w.report.Warnings, nil
	}
	if err := basedOn(kindCredential, w.before.GetMetadata(), want.GetMetadata()); err != nil {
		return nil, nil, nil, err
	}
	return w.before, w.after, w.report.Warnings, d.writeCredential(w)
}

// writeCredential puts the spec, and the secret where it is new.
func (d *draft) writeCredential(w credentialWrite) error {
	if err := d.putSpec(kindCredential, w.after); err != nil {
		return err
	}
	name := w.after.GetMetadata().GetName()
	key := store.CredentialPrefix + name
	if !spec.HasSecret(w.after.GetSpec()) {
		d.delete(key)
		return nil
	}
	if w.secret == nil || w.stored && w.before.GetSpec().GetFingerprint() == w.after.GetSpec().GetFingerprint() {
		return nil
	}
	plain, err := store.Encode(&controllerv1.CredentialSecret{Id: random(16), Secret: w.secret})
	if err != nil {
		return err
	}
	defer clear(plain)
	sealed, err := d.service.store.Seal(key, plain)
	if err != nil {
		return err
	}
	d.txn.Puts = append(d.txn.Puts, store.Put{Key: key, Value: sealed})
	if w.stored {
		d.revoke(store.AuditCredentialReplaced, name, "a new secret by an operator")
	}
	return nil
}

// usersOf lists the peers that use a credential.
func usersOf(snapshot *store.Snapshot, name string) (users []string) {
	prefix := keyPrefix(kindPeer)
	snapshot.Range(prefix, func(kv store.KV) bool {
		var p operatorv1.Peer
		if store.Decode(kv, &p) == nil && (p.GetSpec().GetLocal().GetCredential() == name || p.GetSpec().GetRemote().GetCredential() == name) {
			users = append(users, kv.Key[len(prefix):])
		}
		return len(users) < maxUsers
	})
	return users
}

// maxUsers bounds the list of peers of a credential.
const maxUsers = 64

func (d *draft) deleteCredential(name string, revision int64) (*operatorv1.Credential, error) {
	c := &operatorv1.Credential{}
	if err := d.doomed(kindCredential, name, revision, c); err != nil {
		return nil, err
	}
	if users := usersOf(d.snapshot, name); len(users) > 0 && !d.allGone(users) {
		return nil, fault.Newf(fault.Conflict, "Credential %q is that of peer %q: change or delete the peer first", name, users[0]).
			WithReason(ReasonBusy).WithResource(kindName(kindCredential), name)
	}
	d.delete(keyPrefix(kindCredential)+name, store.StatusPrefix+string(store.KindCredential)+"/"+name, store.CredentialPrefix+name)
	d.revoke(store.AuditCredentialRemoved, name, "deleted by an operator")
	return c, d.event("Credential", name, "CredentialRemoved", false, fmt.Sprintf("credential %s was removed by %s", name, actor(d.ctx)))
}

// allGone reports whether the same request deletes all of these peers.
func (d *draft) allGone(peers []string) bool {
	for _, name := range peers {
		if !d.gonePeers[name] {
			return false
		}
	}
	return true
}
