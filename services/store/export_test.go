package store

import "google.golang.org/grpc"

// WithDialOptions makes Open put faults on the wire.
func WithDialOptions(c Config, opts ...grpc.DialOption) Config {
	c.dial = opts
	return c
}

// Pending is how many keys a subscription holds changes of.
func (s *Subscription) Pending() int {
	s.view.mu.Lock()
	defer s.view.mu.Unlock()
	return len(s.pending)
}

// ReadAudit is readAudit.
var ReadAudit = readAudit
