package uplink

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	"sallyport.dev/sallyport/services/dial"
	"sallyport.dev/sallyport/services/fault"
)

// Reasons that controllers give (google.rpc.ErrorInfo).
const (
	reasonDuplicate = "DUPLICATE_IDENTITY"
	reasonRemoved   = "HOST_REMOVED"
	reasonRevoked   = "KEY_REVOKED"
	reasonPoolFull  = "ADDRESS_POOL_FULL"
	reasonExpired   = "CERTIFICATE_EXPIRED"
)

// ErrNoToken: the host has no identity, and no join token to get one.
var ErrNoToken = errors.New("uplink: this host has not joined a fleet: give --join-token or --join-token-file " +
	"(make a token with `sallyport join-token create`)")

// ErrJoinRefused: the controller refused the join token, or is not the one that the token was made by.
var ErrJoinRefused = errors.New("uplink: joining was refused")

// Renewal: at half of the certificate's life, spread over a tenth of it, so that a fleet that
// joined together does not renew together.
const (
	renewRetry   = 30 * time.Second
	renewTimeout = 30 * time.Second
	leastRenewal = time.Second
)

// enrol gets an identity when there is none. It goes on while no controller answers.
func (u *Uplink) enrol(ctx context.Context) error {
	if id := u.identity(); id != nil {
		if u.config.JoinToken != nil {
			u.log.Info("this host has joined already; the join token is not used", "host", id.Host())
		}
		u.note.enrolled(id)
		return nil
	}
	if u.config.JoinToken == nil {
		return ErrNoToken
	}
	key, err := u.config.State.Key()
	if err != nil {
		return err
	}
	var retry backoff
	for attempt := 0; ; attempt++ {
		address := u.config.Controllers[attempt%len(u.config.Controllers)]
		m, err := u.enrolOnce(ctx, address, key)
		if err == nil {
			return u.enrolled(key, m)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !worthRetrying(err) {
			return fmt.Errorf("%w by %s: %w", ErrJoinRefused, address, err)
		}
		wait := retry.next()
		u.note.lost(address, err)
		u.log.Warn("cannot join yet; trying again", "controller", address, "err", err, "retry_in", wait)
		if !pause(ctx, wait) {
			return ctx.Err()
		}
	}
}

func (u *Uplink) enrolOnce(ctx context.Context, address string, key *Key) (*fleetv1.Identity, error) {
	ctx, cancel := context.WithTimeout(ctx, renewTimeout)
	defer cancel()
	m, err := u.config.Dialer.Enrol(ctx, address, *u.config.JoinToken, key)
	return m, fault.FromError(err)
}

// worthRetrying says whether the same request may succeed later: neither the token nor the controller is
// at fault.
func worthRetrying(err error) bool {
	if errors.Is(err, dial.ErrNotTheFleet) {
		return false
	}
	if _, answered := errors.AsType[*fault.Error](err); !answered {
		return true // nobody answered
	}
	if fault.ReasonOf(err) == reasonPoolFull {
		return false // somebody has to make room first
	}
	switch fault.KindOf(err) {
	case fault.InvalidArgument, fault.NotFound, fault.AlreadyExists, fault.PermissionDenied,
		fault.Unauthenticated, fault.FailedPrecondition, fault.Unimplemented:
		return false
	}
	return true
}

func (u *Uplink) enrolled(key *Key, m *fleetv1.Identity) error {
	id, err := received(key, m)
	if err != nil {
		return err
	}
	if err := u.config.State.saveIdentity(id); err != nil {
		return err
	}
	u.setIdentity(id)
	u.config.JoinToken = nil // of no more use: it need not lie in memory
	u.note.enrolled(id)
	u.log.Info("joined the fleet", "host", id.Host(), "trust_domain", id.TrustDomain(), "certificate_until", id.NotAfter())
	return nil
}

// renewals renews the certificate at half of its life.
func (u *Uplink) renewals(ctx context.Context) {
	for attempt := 0; ; {
		if !pause(ctx, u.untilRenewal(attempt)) {
			return
		}
		address := u.config.Controllers[attempt%len(u.config.Controllers)]
		if err := u.renewIfDue(ctx, address, false); err != nil {
			attempt++
			u.log.Warn("the certificate could not be renewed; trying again", "controller", address,
				"valid_until", u.identity().NotAfter(), "err", err)
			continue
		}
		attempt = 0
	}
}

func (u *Uplink) untilRenewal(failures int) time.Duration {
	if failures > 0 {
		return renewRetry/2 + rand.N(renewRetry)
	}
	id := u.identity()
	life := id.leaf.NotAfter.Sub(id.leaf.NotBefore)
	spread := rand.N(max(life/10, 1))
	return max(id.RenewAt().Sub(u.config.Now())+spread, leastRenewal)
}

// renewIfDue leaves a certificate alone that somebody else has just renewed, unless it is forced.
func (u *Uplink) renewIfDue(ctx context.Context, address string, force bool) error {
	u.renewal.Lock()
	defer u.renewal.Unlock()
	id := u.identity()
	if !force && u.config.Now().Before(id.RenewAt()) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, renewTimeout)
	defer cancel()
	conn, err := u.config.Dialer.Dial(ctx, address, u.identity)
	if err != nil {
		return fault.FromError(err)
	}
	defer conn.Close()
	reply, err := fleetv1.NewEnrolmentServiceClient(conn).Renew(ctx, &fleetv1.RenewRequest{})
	if err != nil {
		return fault.FromError(err)
	}
	return u.renewed(id, reply.GetIdentity())
}

func (u *Uplink) renewed(old *Identity, m *fleetv1.Identity) error {
	id, err := received(old.key, m)
	if err != nil {
		return err
	}
	if id.host != old.host || id.trustDomain != old.trustDomain {
		return fmt.Errorf("uplink: the controller renewed %s of %s as %s of %s", old.host, old.trustDomain, id.host, id.trustDomain)
	}
	u.replacing.Lock()
	defer u.replacing.Unlock()
	if err := u.config.State.saveIdentity(id); err != nil {
		return err
	}
	u.setIdentity(id)
	u.note.enrolled(id)
	u.log.Info("renewed the certificate", "valid_until", id.NotAfter())
	return nil
}

// trust takes up the fleet's roots.
func (u *Uplink) trust(roots [][]byte) error {
	u.replacing.Lock()
	defer u.replacing.Unlock()
	old := u.identity()
	if old.sameRoots(roots) {
		return nil
	}
	id, err := old.withRoots(roots)
	if err != nil {
		return fmt.Errorf("%w: %w", errProtocol, err)
	}
	if err := u.config.State.saveTrust(roots); err != nil {
		return err
	}
	u.setIdentity(id)
	u.log.Info("the fleet's roots have changed", "roots", len(roots))
	return nil
}
