package main

import (
	"context"
	"log/slog"

	"sallyport.dev/sallyport/agent/datagram"
	"sallyport.dev/sallyport/agent/netio"
	"sallyport.dev/sallyport/agent/relay"
)

// ikeSockets carry IKE between peers and the controller: on the port of ESP, whose sockets are the datapath's, and on
// port 500.
type ikeSockets struct {
	relay  *relay.Relay
	port   uint16
	listen []*netio.UDPSocket // port 500
}

// open opens port 500. Without it the agent runs all the same: hosts do not need it, and another daemon may have it.
func (i *ikeSockets) open(o *options, esp4, esp6 *netio.UDPSocket, routes *netio.Routes, log *slog.Logger) {
	config := relay.Config{ESPPort: o.listenPort, ESP: ofRelay(esp4, esp6), PathTo: routes.PathTo}
	v4, v6, err := netio.ListenUDP(netio.UDPOptions{Port: relay.Port, Mark: o.mark})
	if err != nil {
		log.Warn("peers cannot be spoken to on UDP port 500, only on that of ESP", "err", err)
	} else {
		config.IKE = ofRelay(v4, v6)
		for _, s := range []*netio.UDPSocket{v4, v6} {
			if s != nil {
				i.listen = append(i.listen, s)
			}
		}
	}
	i.port, i.relay = o.listenPort, relay.New(config)
}

// take takes what the datapath has found behind a marker.
func (i *ikeSockets) take(p *datagram.Packet) { i.relay.Take(p, i.port) }

// tasks receive on port 500.
func (i *ikeSockets) tasks() (all []task) {
	for _, s := range i.listen {
		all = append(all, func(ctx context.Context) error { return i.relay.Listen(ctx, s, relay.Port) })
	}
	return all
}

// ofRelay makes interfaces of sockets that may be nil.
func ofRelay(v4, v6 *netio.UDPSocket) (s relay.Sockets) {
	if v4 != nil {
		s.IPv4 = v4
	}
	if v6 != nil {
		s.IPv6 = v6
	}
	return s
}
