package fragment

import (
	"errors"
	"time"

	"sallyport.dev/sallyport/services/protocol/ipwire"
)

type Config struct{}
type Reassembler struct{}

func New(Config) *Reassembler { return &Reassembler{} }
func (r *Reassembler) Add(now time.Duration, p []byte) ([]byte, error) {
	return nil, errors.New("tmp")
}

type TrackerConfig struct{}
type Tracker struct{}

func NewTracker(TrackerConfig) *Tracker                            { return &Tracker{} }
func (t *Tracker) Note(now time.Duration, p []byte, f ipwire.Flow) {}
func (t *Tracker) Flow(now time.Duration, p []byte) (ipwire.Flow, bool) {
	return ipwire.Flow{}, false
}
func SplitSpace(n, mtu int) int { return 4*n + 4096 }
func Split(dst [][]byte, space, packet []byte, mtu int, id uint32) ([][]byte, error) {
	return nil, errors.New("tmp")
}
