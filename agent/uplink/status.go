package uplink

import (
	"sync"
	"time"

	typesv1 "sallyport.dev/sallyport/api/sallyport/types/v1"
)

// Status is how the uplink stands, for people and metrics.
type Status struct {
	// Host is the host's name; "" before it has enrolled.
	Host string `json:"host"`
	// Epoch is this life of the process, hexadecimal.
	Epoch string `json:"epoch"`
	// Controller is the address in use, or tried last.
	Controller string `json:"controller"`
	// Connected is true while a welcomed stream is open.
	Connected bool `json:"connected"`
	// Since is when Connected last changed; zero when it never has.
	Since time.Time `json:"since"`
	// Streams counts the streams opened.
	Streams uint64 `json:"streams"`
	// LastError says why there is no stream; "" when there is one.
	LastError string `json:"last_error,omitempty"`
	// Incarnation and Revision are the position up to which the controller has sent everything.
	Incarnation uint64 `json:"incarnation"`
	Revision    int64  `json:"revision"`
	// PositionTime is when that position came.
	PositionTime time.Time `json:"position_time"`
	// CertificateNotAfter is the end of the certificate's life.
	CertificateNotAfter time.Time `json:"certificate_not_after"`
}

type status struct {
	mu  sync.Mutex
	now func() time.Time
	s   Status
}

func newStatus(now func() time.Time) *status { return &status{now: now} }

func (x *status) enrolled(id *Identity) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.s.Host, x.s.CertificateNotAfter = id.Host(), id.NotAfter()
}

func (x *status) opening(controller string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.s.Controller = controller
	x.s.Streams++
}

func (x *status) welcomed() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.s.Connected, x.s.Since, x.s.LastError = true, x.now(), ""
}

func (x *status) lost(controller string, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.s.Connected {
		x.s.Connected, x.s.Since = false, x.now()
	}
	x.s.Controller = controller
	if err != nil {
		x.s.LastError = err.Error()
	}
}

func (x *status) position(p *typesv1.Position) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.s.Incarnation, x.s.Revision, x.s.PositionTime = p.GetIncarnation(), p.GetRevision(), x.now()
}

func (x *status) get() Status {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.s
}
