package netio

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"sallyport.dev/sallyport/agent/datagram"
)

const (
	// mostSegments is how many datagrams Linux takes in one message since 6.9 (UDP_MAX_SEGMENTS).
	mostSegments = 128
	// fewSegments is how many every Linux with UDP_SEGMENT takes: 64, but before 5.16 with the headers counted in.
	fewSegments = 63
	// segmentationPause is how long runs are sent datagram by datagram once the kernel has refused one for a reason
	// that is not the run's.
	segmentationPause = time.Minute
)

var (
	errNoChecksum = errors.New("UDP checksums are off, and segmentation offload needs them")
	errKernel     = errors.New("the kernel does not have it")
)

// segmentation is whether a socket gives the kernel whole runs (UDP_SEGMENT, Linux 4.18), and how long ones. The kernel
// may refuse: a device or its driver without checksum offload, an xfrm policy, too many segments.
type segmentation struct {
	never  error // why it is not even tried
	paused error // why it is not tried until then
	until  time.Time
	most   int
	now    func() time.Time
}

func newSegmentation(never error) segmentation {
	return segmentation{never: never, most: mostSegments, now: time.Now}
}

// segments is how many datagrams one message may hold now; 1 if it may not be a run.
func (s *segmentation) segments() int {
	if s.never != nil || s.paused != nil && s.now().Before(s.until) {
		return 1
	}
	return s.most
}

// refused notes that runs are refused for a reason that has nothing to do with this one.
func (s *segmentation) refused(why error) {
	s.paused, s.until = why, s.now().Add(segmentationPause)
}

// left notes that a run has left whole, and reports whether that is news.
func (s *segmentation) left() bool {
	news := s.paused != nil
	s.paused = nil
	return news
}

// err is why runs do not leave whole; nil if they do.
func (s *segmentation) err() error {
	switch {
	case s.never != nil:
		return fmt.Errorf("netio: UDP segmentation offload is off: %w", s.never)
	case s.paused != nil:
		return fmt.Errorf("netio: UDP segmentation offload is off: the kernel refuses it: %w", s.paused)
	}
	return nil
}

// segmentationRefused is whether a run may be refused with err although its datagrams are not: it has more segments than
// the kernel takes, or longer ones than the path does (EINVAL, from 6.14 on EMSGSIZE); the kernel, the device or an xfrm
// policy forbids it.
func segmentationRefused(err error) bool {
	for _, e := range []error{unix.EINVAL, unix.EMSGSIZE, unix.EIO, unix.EOPNOTSUPP, unix.ENOPROTOOPT} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// kernelsOwn is whether a run whose datagrams have left one by one, with DF or without, was refused for a reason that
// concerns the next ones too. Without DF the segments may have been too long for the path.
func kernelsOwn(err error, df bool) bool {
	return !errors.Is(err, unix.EMSGSIZE) && (df || !errors.Is(err, unix.EINVAL))
}

// reach is how many bytes of the rest of p one message takes at once, with so many segments at most.
func reach(p *datagram.Packet, rest, segments int) int {
	if p.Count() == 1 || rest <= min(longestRun, segments*p.Segment) {
		return rest
	}
	return max(1, min(segments, longestRun/p.Segment)) * p.Segment
}
