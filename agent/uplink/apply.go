package uplink

import (
	"errors"
	"fmt"
	"strings"

	"sallyport.dev/sallyport/agent/datapath"
	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
)

const (
	// maxDetail is the contract's bound of Nack.detail, bytes.
	maxDetail = 512
	// maxPairs and maxAssociations are far beyond any fleet: they keep a broken controller from
	// filling the memory.
	maxPairs        = 1 << 16
	maxAssociations = 1 << 18
)

// errFull: the host holds more than any fleet needs.
var errFull = errors.New("this host holds too many resources")

// errNoManual: nobody here reserves sequence numbers on disk.
var errNoManual = errors.New("this agent takes no keys that operators give")

// refusal is an update that the agent did not carry out.
type refusal struct {
	reason  fleetv1.NackReason
	highest uint32
	err     error
}

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

func invalid(err error) *refusal {
	return &refusal{reason: fleetv1.NackReason_NACK_REASON_INVALID, err: err}
}

// refused finds the reason that the datapath had.
func refused(err error) *refusal {
	if burnt, ok := errors.AsType[*datapath.Burnt](err); ok {
		return &refusal{reason: fleetv1.NackReason_NACK_REASON_BURNT, highest: burnt.Highest, err: err}
	}
	if errors.Is(err, datapath.ErrSPIClash) {
		return &refusal{reason: fleetv1.NackReason_NACK_REASON_SPI_CLASH, err: err}
	}
	return &refusal{reason: fleetv1.NackReason_NACK_REASON_FAILED, err: err}
}

// applier carries out what a stream says, one message at a time.
type applier struct {
	installer Installer
	manual    ManualInstaller // nil: there is none
	held      *holdings
	// saveConfig keeps the last good configuration for the next start. It may fail: the
	// configuration comes again.
	saveConfig func(*fleetv1.Update)
}

// update carries out one Update and clears the key in it.
func (a *applier) update(u *fleetv1.Update) *refusal {
	defer clear(u.GetSecurityAssociation().GetKey())
	n, ok := parseName(u.GetName())
	if !ok {
		return invalid(fmt.Errorf("resource name %s", brief(u.GetName())))
	}
	switch r := u.GetResource().(type) {
	case *fleetv1.Update_Config:
		if n.kind == kindConfig {
			return a.configure(u, r.Config)
		}
	case *fleetv1.Update_Pair:
		if n.kind == kindPair {
			return a.setPairs([]*fleetv1.Update{u})[0]
		}
	case *fleetv1.Update_SecurityAssociation:
		if n.kind == kindInbound || n.kind == kindOutbound {
			return a.install(n, u.GetVersion(), r.SecurityAssociation)
		}
	}
	return invalid(fmt.Errorf("resource %s holds %T", brief(u.GetName()), u.GetResource()))
}

func (a *applier) configure(u *fleetv1.Update, c *fleetv1.HostConfig) *refusal {
	config, err := hostConfig(c)
	if err != nil {
		return invalid(err)
	}
	if err := a.installer.Configure(config); err != nil {
		return refused(err)
	}
	a.held.set(configName, u.GetVersion())
	a.saveConfig(u)
	return nil
}

// setPairs installs the pairs at once where that works, else one by one, so that a bad one spoils no
// other. The answers are in the order of us.
func (a *applier) setPairs(us []*fleetv1.Update) []*refusal {
	answers := make([]*refusal, len(us))
	var good []datapath.Pair
	var at []int
	room := maxPairs - a.held.others()
	for i, u := range us {
		n, ok := parseName(u.GetName())
		p, err := pair(n, u.GetPair())
		if !ok || n.kind != kindPair || err != nil {
			answers[i] = invalid(errors.Join(fmt.Errorf("pair %s", brief(u.GetName())), err))
			continue
		}
		if !a.held.has(n) {
			if room--; room < 0 {
				answers[i] = refused(errFull)
				continue
			}
		}
		good, at = append(good, p), append(at, i)
	}
	bulk := len(good) > 1 && a.installer.SetPairs(good...) == nil
	for k, p := range good {
		i := at[k]
		if !bulk {
			if err := a.installer.SetPairs(p); err != nil {
				answers[i] = refused(err)
				continue
			}
		}
		a.held.set(pairName(p.ID), us[i].GetVersion())
	}
	return answers
}

func (a *applier) install(n name, version uint64, r *fleetv1.SecurityAssociation) *refusal {
	if version != saVersion {
		return invalid(fmt.Errorf("version %d of an association: want %d", version, saVersion))
	}
	sa, err := association(n, r)
	if err != nil {
		return invalid(err)
	}
	if a.held.count() >= maxAssociations && !a.held.has(n) {
		return refused(errFull)
	}
	err = a.held.install(n, sa.Pair, func() error {
		if r.GetManual() {
			return a.installManual(sa, n.kind == kindInbound)
		}
		if n.kind == kindInbound {
			return a.installer.InstallInbound(sa)
		}
		return a.installer.InstallOutbound(sa)
	})
	if err != nil {
		return refused(err)
	}
	return nil
}

func (a *applier) installManual(sa datapath.SA, inbound bool) error {
	if a.manual == nil {
		return errNoManual
	}
	return a.manual.InstallManual(sa, inbound)
}

// remove carries out one Remove. What is gone already counts as removed.
func (a *applier) remove(r *fleetv1.Remove) *refusal {
	n, ok := parseName(r.GetName())
	if !ok || n.kind == kindConfig {
		return invalid(fmt.Errorf("cannot remove %s", brief(r.GetName())))
	}
	if err := a.removeNamed(n); err != nil {
		return err
	}
	a.held.forget(n)
	return nil
}

func (a *applier) removeNamed(n name) *refusal {
	var err error
	switch n.kind {
	case kindPair:
		if a.held.inUse(datapath.PairID(n.id)) {
			// Removing the pair would delete associations that no tombstone has named.
			return refused(errors.New("the pair still has associations"))
		}
		err = a.installer.RemovePair(datapath.PairID(n.id))
	case kindInbound:
		err = a.installer.RemoveInbound(datapath.SAID(n.id))
	default:
		err = a.installer.RemoveOutbound(datapath.SAID(n.id))
	}
	if err != nil && !errors.Is(err, datapath.ErrNoSA) && !errors.Is(err, datapath.ErrNoPair) {
		return refused(err)
	}
	return nil
}

// removeAll deletes every association, outbound ones first: nothing is sent or taken any more. The pairs
// stay, and with them the guard of what they protected: it goes with `sallyport-agent cleanup`.
func (a *applier) removeAll() error {
	var errs []error
	for _, k := range []kind{kindOutbound, kindInbound} {
		for _, n := range a.held.all(k) {
			if r := a.removeNamed(n); r != nil {
				errs = append(errs, fmt.Errorf("remove %v: %w", n, r))
				continue
			}
			a.held.forget(n)
		}
	}
	return errors.Join(errs...)
}

// answer is the Ack, or the Nack for r.
func answer(resource string, version uint64, r *refusal) *fleetv1.SyncRequest {
	if r == nil {
		return &fleetv1.SyncRequest{Message: &fleetv1.SyncRequest_Ack{Ack: &fleetv1.Ack{Name: resource, Version: version}}}
	}
	return &fleetv1.SyncRequest{Message: &fleetv1.SyncRequest_Nack{Nack: &fleetv1.Nack{
		Name: resource, Version: version, Reason: r.reason, HighestGeneration: r.highest, Detail: detail(r.err),
	}}}
}

// detail is err's text as the wire takes it: valid UTF-8 of at most maxDetail bytes.
func detail(err error) string {
	text := err.Error()
	return strings.ToValidUTF8(text[:min(len(text), maxDetail)], "")
}

// brief shows a text of the controller's, quoted and bounded.
func brief(text string) string {
	const most = 128
	if len(text) > most {
		return fmt.Sprintf("%q…", text[:most])
	}
	return fmt.Sprintf("%q", text)
}
