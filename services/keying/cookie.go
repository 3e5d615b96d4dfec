package keying

import (
	"crypto/rand"
	"sync"
	"time"

	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	"sallyport.dev/sallyport/services/protocol/ike"
)

// cookieLife is how long a secret makes cookies. One of the secret before is taken as well, so that a cookie is good
// for at least as long.
const cookieLife = time.Minute

// cookies has the secrets of the stateless cookies. The zero value is ready.
type cookies struct {
	mu        sync.Mutex
	now, last ike.CookieSecret
	since     time.Time
}

// turn renews the secret when it is due.
func (c *cookies) turn(now time.Time) {
	if c.since.IsZero() || now.Sub(c.since) >= cookieLife {
		key := make(ike.Secret, 32)
		rand.Read(key) // never fails
		c.last, c.now, c.since = c.now, ike.CookieSecret{Version: c.now.Version + 1, Key: key}, now
	}
}

// guard is what agents are told.
func (c *cookies) guard(now time.Time, demanded bool) *fleetv1.CookieGuard {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !demanded {
		return &fleetv1.CookieGuard{}
	}
	c.turn(now)
	return &fleetv1.CookieGuard{Demanded: true, Version: uint32(c.now.Version), Secret: c.now.Key, LastSecret: c.last.Key}
}

// guardAgents has agents demand cookies while many IKE SAs are half open, and lets them be again when few are.
func (r *reign) guardAgents() {
	r.mu.Lock()
	begun := len(r.begun)
	r.mu.Unlock()
	demanded := begun >= cookiesFrom || begun >= cookiesFrom/2 && r.relays.guarded()
	r.relays.setGuard(r.cookies.guard(r.now(), demanded))
}

// pass reports whether an IKE_SA_INIT request brings a good cookie. It demands one if not.
func (c *cookies) pass(r *reign, host string, path ike.Path, datagram []byte) bool {
	hello, err := ike.ParseHello(datagram)
	if err != nil {
		return false
	}
	c.mu.Lock()
	c.turn(r.now())
	now, last := c.now, c.last
	c.mu.Unlock()
	if now.Check(hello.Cookie, path.Remote, hello.SPI, hello.Nonce) || last.Check(hello.Cookie, path.Remote, hello.SPI, hello.Nonce) {
		return true
	}
	if demand, err := ike.DemandCookie(hello, now.Make(path.Remote, hello.SPI, hello.Nonce)); err == nil {
		r.relays.send(host, path, [][]byte{demand})
	}
	return false
}
