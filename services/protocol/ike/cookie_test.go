package ike

import (
	"net/netip"
	"strings"
	"testing"

	"sallyport.dev/sallyport/services/protocol/ikewire"
)

func TestCookie(t *testing.T) {
	twice(t, func(t *testing.T, restoring bool) {
		a, b := policies()
		l := newLab(t, 1, restoring, a, b)
		secret := CookieSecret{Version: 3, Key: Secret("0123456789abcdef")}
		demanded := 0
		l.rule = func(p *packet) fate {
			if p.to != l.bob || l.bob.m != nil {
				return fate{}
			}
			hello, err := ParseHello(p.datagram)
			if err != nil {
				t.Fatal(err)
			}
			if secret.Check(hello.Cookie, p.path.Remote, hello.SPI, hello.Nonce) {
				return fate{}
			}
			demanded++
			reply, err := DemandCookie(hello, secret.Make(p.path.Remote, hello.SPI, hello.Nonce))
			if err != nil {
				t.Fatal(err)
			}
			l.send(l.bob, Path{Local: p.path.Local, Remote: p.path.Remote}, reply)
			return fate{drop: true}
		}
		l.establish()
		l.consistent(1)
		if demanded != 1 {
			t.Errorf("demanded %d cookies", demanded)
		}
	})
}

func TestCookieIsOfItsSource(t *testing.T) {
	secret := CookieSecret{Version: 3, Key: Secret("0123456789abcdef")}
	from, spi, nonce := netip.MustParseAddrPort("192.0.2.1:500"), ikewire.IKESPI{1}, []byte(strings.Repeat("n", 32))
	cookie := secret.Make(from, spi, nonce)
	if !secret.Check(cookie, from, spi, nonce) {
		t.Fatal("our own cookie is refused")
	}
	for name, ok := range map[string]bool{
		"port":    secret.Check(cookie, netip.MustParseAddrPort("192.0.2.1:501"), spi, nonce),
		"address": secret.Check(cookie, netip.MustParseAddrPort("192.0.2.2:500"), spi, nonce),
		"SPI":     secret.Check(cookie, from, ikewire.IKESPI{2}, nonce),
		"nonce":   secret.Check(cookie, from, spi, nonce[1:]),
		"secret":  CookieSecret{Version: 3, Key: Secret("0123456789abcdeX")}.Check(cookie, from, spi, nonce),
		"version": CookieSecret{Version: 4, Key: secret.Key}.Check(cookie, from, spi, nonce),
		"no key":  CookieSecret{}.Check(CookieSecret{}.Make(from, spi, nonce), from, spi, nonce),
		"prefix":  secret.Check(cookie[:16], from, spi, nonce),
	} {
		if ok {
			t.Errorf("accepted with another %s", name)
		}
	}
}
