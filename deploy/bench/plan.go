//go:build linux

package main

import (
	"sallyport.dev/sallyport/deploy/bench/bed"
	"sallyport.dev/sallyport/deploy/bench/contender"
	"sallyport.dev/sallyport/deploy/bench/tally"
)

// measurement is a series of pairs of runs, and the figures made of it.
type measurement struct {
	against opponent
	bed     bed.Plan
	setup   contender.Setup
	load    loadFunc
	figures []wanted
}

// wanted is a figure that a measurement gives. Its name, or tag without a goal, selects the measurement.
type wanted struct {
	name, tag, title string
	metric           tally.Metric
	goal             tally.Goal
}

// opponent is who we are compared with.
type opponent int

const (
	wireguard opponent = iota
	strongswan
)

// MTUs of the wire.
const (
	ethernet = 1500
	jumbo    = 9000
)

func atLeast(bound float64) tally.Goal { return tally.Goal{Relation: "≥", Bound: bound} }
func atMost(bound float64) tally.Goal  { return tally.Goal{Relation: "≤", Bound: bound} }

// with changes the default set-up.
func with(change func(*contender.Setup)) contender.Setup {
	s := contender.Default()
	change(&s)
	return s
}

func proposal(p string) contender.Setup {
	return with(func(s *contender.Setup) { s.Proposal = p })
}

// plan is every measurement, in the order of running.
func plan() []measurement {
	var (
		std   = contender.Default()
		plain = bed.Plan{MTU: ethernet}
	)
	return []measurement{
		{wireguard, plain, std, tcp(1), []wanted{
			{name: "1", title: "TCP, one stream, Gbit/s against wireguard-go", metric: tally.Rate, goal: atLeast(2.5)},
			{name: "2", title: "CPU seconds per GB, both ends, against wireguard-go", metric: tally.CPU, goal: atMost(0.4)},
		}},
		{wireguard, plain, std, tcp(2), []wanted{
			{name: "2b", tag: "2 streams", title: "TCP, 2 streams, against wireguard-go", metric: tally.Rate, goal: atLeast(2.5)}}},
		{wireguard, plain, std, tcp(8), []wanted{
			{name: "2b", tag: "8 streams", title: "TCP, 8 streams, against wireguard-go", metric: tally.Rate, goal: atLeast(2.5)}}},
		{wireguard, bed.Plan{MTU: jumbo}, std, tcp(1), []wanted{
			{name: "2c", title: "TCP, one stream, MTU 9000, against wireguard-go", metric: tally.Rate, goal: atLeast(1.5)}}},
		{strongswan, plain, std, tcp(1), []wanted{
			{name: "3", title: "TCP, one stream, against strongSwan kernel-libipsec", metric: tally.Rate, goal: atLeast(10)},
			{tag: "strongswan-cpu", title: "CPU seconds per GB against strongSwan kernel-libipsec", metric: tally.CPU}}},
		{wireguard, plain, std, udp(64), []wanted{
			{name: "4", title: "UDP of 64 bytes without loss, packets/s against wireguard-go", metric: tally.Lossless, goal: atLeast(5)},
			{tag: "udp64-flood", title: "UDP of 64 bytes at full speed, packets/s that arrive, against wireguard-go", metric: tally.Flood}}},
		{wireguard, plain, proposal("chacha20poly1305"), tcp(1), []wanted{
			{name: "6", tag: "ChaCha20-Poly1305", title: "ChaCha20-Poly1305, one stream, against wireguard-go", metric: tally.Rate, goal: atLeast(1.5)}}},
		{wireguard, plain, proposal("aes256gcm16"), tcp(1), []wanted{
			{name: "6", tag: "AES-256-GCM", title: "AES-256-GCM, one stream, against wireguard-go", metric: tally.Rate, goal: atLeast(1.5)}}},
		{wireguard, plain, std, roundTrip, []wanted{
			{name: "9", title: "ping round trip through idle ends, against wireguard-go", metric: tally.RTT, goal: atMost(1)}}},
		reported(plain, with(func(s *contender.Setup) { s.Inner, s.Outer = 6, 6 }), tcp(1), tally.Rate, "ipv6", "TCP, one stream, IPv6 in IPv6"),
		reported(plain, std, udp(1400-28), tally.Rate, "udp1400", "UDP in packets of 1,400 bytes without loss, Gbit/s of payload"),
		reported(plain, std, both, tally.Rate, "both", "TCP, one stream in each direction at once"),
		reported(plain, std, imix(), tally.Rate, "imix", "UDP of mixed sizes (IMIX) without loss, Gbit/s of payload"),
		reported(bed.Plan{MTU: ethernet, Gateways: true}, std, tcp(1), tally.Rate, "gateway", "TCP, one stream, between hosts behind two gateways"),
		reported(plain, with(func(s *contender.Setup) { s.Mode = "transport" }), tcp(1), tally.Rate, "transport", "TCP, one stream, transport mode"),
		reported(plain, with(func(s *contender.Setup) { s.Encapsulation = "native" }), tcp(1), tally.Rate, "native", "TCP, one stream, ESP without UDP"),
		reported(plain, with(func(s *contender.Setup) {
			s.Protocol, s.Encapsulation, s.Proposal = "ah", "native", "sha256"
		}), tcp(1), tally.Rate, "ah", "TCP, one stream, AH with HMAC-SHA-256"),
	}
}

// reported is a comparison with wireguard-go that has no goal.
func reported(b bed.Plan, s contender.Setup, l loadFunc, m tally.Metric, tag, title string) measurement {
	return measurement{wireguard, b, s, l, []wanted{{tag: tag, title: title + ", against wireguard-go", metric: m}}}
}
