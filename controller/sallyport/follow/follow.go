// Package follow lists resources and keeps up with their changes, however often the connection or
// the store's history is lost.
package follow

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/controller/sallyport/resource"
	"sallyport.dev/sallyport/services/fault"
)

// Client is what is needed of the operator's API.
type Client interface {
	List(ctx context.Context, in *operatorv1.ListRequest, opts ...grpc.CallOption) (*operatorv1.ListResponse, error)
	Watch(ctx context.Context, in *operatorv1.WatchRequest, opts ...grpc.CallOption) (grpc.ServerStreamingClient[operatorv1.WatchResponse], error)
}

// listAttempts is how often a list is begun again when the revision of its pages is compacted.
const listAttempts = 3

// List returns every page in one response.
func List(ctx context.Context, c Client, kind operatorv1.Kind, selector string) (*operatorv1.ListResponse, error) {
	var err error
	for range listAttempts {
		var all *operatorv1.ListResponse
		all, err = listOnce(ctx, c, kind, selector)
		if err == nil || !isKind(err, fault.OutOfRange) {
			return all, err
		}
	}
	return nil, err
}

func listOnce(ctx context.Context, c Client, kind operatorv1.Kind, selector string) (*operatorv1.ListResponse, error) {
	all := &operatorv1.ListResponse{}
	token := ""
	for {
		page, err := c.List(ctx, &operatorv1.ListRequest{Kind: kind, Selector: selector, PageSize: 1000, PageToken: token})
		if err != nil {
			return nil, err
		}
		all.Resources = append(all.Resources, page.GetResources()...)
		all.Revision = page.GetRevision()
		next := page.GetNextPageToken()
		if next == "" {
			return all, nil
		}
		if next == token {
			return nil, fmt.Errorf("the controller gave the same page of the list twice")
		}
		token = next
	}
}

// Change is what happened to one resource.
type Change struct {
	// Type is ADDED, MODIFIED or DELETED.
	Type operatorv1.ChangeType
	// Resource is what it is now, or was before it was deleted.
	Resource *operatorv1.Resource
	// Revision of the store.
	Revision int64
}

// Follower follows the resources of one kind. Its methods are for one goroutine.
type Follower struct {
	// Client is the API.
	Client Client
	// Kind and Selector say which resources.
	Kind     operatorv1.Kind
	Selector string
	// Notice tells the user of a lost connection; nil for nobody.
	Notice func(error)
	// Jitter returns a number in [0, 1), to spread reconnections.
	Jitter func() float64

	revision int64
	known    map[string]*operatorv1.Resource
}

// Start lists what there is. Changes begin after it.
func (f *Follower) Start(ctx context.Context) (*operatorv1.ListResponse, error) {
	all, err := List(ctx, f.Client, f.Kind, f.Selector)
	if err != nil {
		return nil, err
	}
	f.known = byName(all.GetResources())
	f.revision = all.GetRevision()
	return all, nil
}

// StartAt is Start without the list: changes after revision are reported, whatever was there before.
func (f *Follower) StartAt(revision int64) {
	f.known = make(map[string]*operatorv1.Resource)
	f.revision = revision
}

// Run calls handle for each change since Start, in order, until ctx ends, handle fails, or the
// controller refuses. A lost connection and a compacted history are mended: what changed meanwhile is
// found by comparing with a new list. Call Start or StartAt before.
func (f *Follower) Run(ctx context.Context, handle func(Change) error) error {
	for attempt := 0; ; attempt++ {
		progressed, err := f.stream(ctx, handle)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if isKind(err, fault.OutOfRange) {
			err = f.compare(ctx, handle)
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF), isKind(err, fault.Unavailable), isKind(err, fault.DeadlineExceeded),
			isKind(err, fault.Exhausted): // of patience with a slow reader
			if f.Notice != nil && (progressed || attempt == 0) {
				f.Notice(err) // once for each loss, not for each attempt
			}
		default:
			return err
		}
		if progressed {
			attempt = 0
		}
		if err := f.pause(ctx, attempt); err != nil {
			return err
		}
	}
}

// pause waits before the next attempt: 0.2 s, doubled up to 10 s, and up to half more.
func (f *Follower) pause(ctx context.Context, attempt int) error {
	d := min(200*time.Millisecond<<min(attempt, 10), 10*time.Second)
	if f.Jitter != nil {
		d += time.Duration(f.Jitter() * float64(d) / 2)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// stream follows one Watch to its end. progressed is true when anything came.
func (f *Follower) stream(ctx context.Context, handle func(Change) error) (progressed bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := f.Client.Watch(ctx, &operatorv1.WatchRequest{
		Kinds: []operatorv1.Kind{f.Kind}, Selector: f.Selector, StartRevision: f.revision,
	})
	if err != nil {
		return false, err
	}
	for {
		msg, err := stream.Recv()
		if err != nil {
			return progressed, err
		}
		progressed = true
		if msg.GetType() != operatorv1.ChangeType_CHANGE_TYPE_BOOKMARK {
			if err := f.note(Change{msg.GetType(), msg.GetResource(), msg.GetRevision()}, handle); err != nil {
				return progressed, err
			}
			continue
		}
		f.revision = max(f.revision, msg.GetRevision())
	}
}

// note records a change and hands it on.
//
// The revision of a change is not yet a place to start from: a transaction's other changes have the
// same one. The one before is; what comes twice then is dropped here, as it is known already.
func (f *Follower) note(c Change, handle func(Change) error) error {
	f.revision = max(f.revision, c.Revision-1)
	name := resource.Metadata(c.Resource).GetName()
	before, had := f.known[name]
	switch {
	case c.Type == operatorv1.ChangeType_CHANGE_TYPE_DELETED && !had:
		return nil
	case c.Type == operatorv1.ChangeType_CHANGE_TYPE_DELETED:
		delete(f.known, name)
	case had && proto.Equal(before, c.Resource):
		return nil
	case had:
		c.Type = operatorv1.ChangeType_CHANGE_TYPE_MODIFIED
		f.known[name] = c.Resource
	default:
		c.Type = operatorv1.ChangeType_CHANGE_TYPE_ADDED
		f.known[name] = c.Resource
	}
	return handle(c)
}

// compare lists again and hands on what differs from what is known.
func (f *Follower) compare(ctx context.Context, handle func(Change) error) error {
	all, err := List(ctx, f.Client, f.Kind, f.Selector)
	if err != nil {
		return err
	}
	now := byName(all.GetResources())
	for name, r := range f.known {
		if _, ok := now[name]; !ok {
			gone := Change{operatorv1.ChangeType_CHANGE_TYPE_DELETED, r, all.GetRevision()}
			if err := f.note(gone, handle); err != nil {
				return err
			}
		}
	}
	for _, r := range all.GetResources() {
		c := Change{operatorv1.ChangeType_CHANGE_TYPE_MODIFIED, r, all.GetRevision()}
		if err := f.note(c, handle); err != nil {
			return err
		}
	}
	f.revision = all.GetRevision()
	return nil
}

func byName(list []*operatorv1.Resource) map[string]*operatorv1.Resource {
	m := make(map[string]*operatorv1.Resource, len(list))
	for _, r := range list {
		m[resource.Metadata(r).GetName()] = r
	}
	return m
}

func isKind(err error, k fault.Kind) bool {
	e, ok := errors.AsType[*fault.Error](fault.FromError(err))
	return ok && e.Kind() == k
}
