//go:build linux

package lab

import (
	"fmt"
	"runtime"

	"github.com/vishvananda/netns"
)

// within runs do on a thread that is in a node's network namespace: sockets that it opens are there, and
// stay there.
func (l *Lab) within(node string, do func() error) error {
	inside, err := netns.GetFromName(l.state.Config.namespace(node))
	if err != nil {
		return fmt.Errorf("lab: %s: %w", node, err)
	}
	defer inside.Close()
	done := make(chan error, 1)
	go func() {
		// The thread is not unlocked: it ends with the goroutine, and nobody else gets a thread that is
		// in another namespace.
		runtime.LockOSThread()
		if err := netns.Set(inside); err != nil {
			done <- fmt.Errorf("lab: %s: %w", node, err)
			return
		}
		done <- do()
	}()
	return <-done
}
