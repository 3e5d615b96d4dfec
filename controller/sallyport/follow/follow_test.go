package follow

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/controller/sallyport/resource"
)

// script is a Client whose answers are written down.
type script struct {
	lists   []any   // *operatorv1.ListResponse or error, in order
	streams [][]any // messages and errors of each Watch
	starts  []int64 // start revisions that were asked for
}

func (s *script) List(context.Context, *operatorv1.ListRequest, ...grpc.CallOption) (*operatorv1.ListResponse, error) {
	if len(s.lists) == 0 {
		return nil, errors.New("one list too many")
	}
	next := s.lists[0]
	s.lists = s.lists[1:]
	if err, ok := next.(error); ok {
		return nil, err
	}
	return next.(*operatorv1.ListResponse), nil
}

func (s *script) Watch(_ context.Context, in *operatorv1.WatchRequest, _ ...grpc.CallOption) (grpc.ServerStreamingClient[operatorv1.WatchResponse], error) {
	s.starts = append(s.starts, in.GetStartRevision())
	if len(s.streams) == 0 {
		return nil, status.Error(codes.PermissionDenied, "one stream too many")
	}
	next := s.streams[0]
	s.streams = s.streams[1:]
	return &stream{script: next}, nil
}

type stream struct {
	grpc.ClientStream
	script []any
}

func (s *stream) Recv() (*operatorv1.WatchResponse, error) {
	if len(s.script) == 0 {
		return nil, io.EOF
	}
	next := s.script[0]
	s.script = s.script[1:]
	if err, ok := next.(error); ok {
		return nil, err
	}
	return next.(*operatorv1.WatchResponse), nil
}

func host(name, label string) *operatorv1.Resource {
	return &operatorv1.Resource{Kind: &operatorv1.Resource_Host{Host: &operatorv1.Host{
		Metadata: &operatorv1.Metadata{Name: name, Labels: map[string]string{"v": label}},
	}}}
}

func page(revision int64, next string, list ...*operatorv1.Resource) *operatorv1.ListResponse {
	return &operatorv1.ListResponse{Resources: list, NextPageToken: next, Revision: revision}
}

func change(t operatorv1.ChangeType, revision int64, r *operatorv1.Resource) *operatorv1.WatchResponse {
	return &operatorv1.WatchResponse{Type: t, Resource: r, Revision: revision}
}

const (
	added    = operatorv1.ChangeType_CHANGE_TYPE_ADDED
	modified = operatorv1.ChangeType_CHANGE_TYPE_MODIFIED
	deleted  = operatorv1.ChangeType_CHANGE_TYPE_DELETED
	bookmark = operatorv1.ChangeType_CHANGE_TYPE_BOOKMARK
)

var (
	unavailable = status.Error(codes.Unavailable, "gone")
	outOfRange  = status.Error(codes.OutOfRange, "compacted")
	tooSlow     = status.Error(codes.ResourceExhausted, "the watcher reads too slowly")
)

func run(t *testing.T, s *script) (changes []string, notices int, err error) {
	t.Helper()
	f := &Follower{Client: s, Kind: operatorv1.Kind_KIND_HOST, Notice: func(error) { notices++ }}
	if _, err := f.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	err = f.Run(t.Context(), func(c Change) error {
		r := c.Resource.GetHost().GetMetadata()
		changes = append(changes, fmt.Sprintf("%c%s=%s", "?+~-"[c.Type], r.GetName(), r.GetLabels()["v"]))
		return nil
	})
	return changes, notices, err
}

func TestListPages(t *testing.T) {
	s := &script{lists: []any{page(5, "p2", host("a", "1")), outOfRange, page(7, "p2", host("a", "2")), page(7, "", host("b", "2"))}}
	all, err := List(t.Context(), s, operatorv1.Kind_KIND_HOST, "")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range all.GetResources() {
		names = append(names, resource.Metadata(r).GetName()+resource.Metadata(r).GetLabels()["v"])
	}
	if !slices.Equal(names, []string{"a2", "b2"}) || all.GetRevision() != 7 || all.GetNextPageToken() != "" {
		t.Errorf("got %v at %d", names, all.GetRevision())
	}
}

func TestListGivesUp(t *testing.T) {
	if _, err := List(t.Context(), &script{lists: []any{outOfRange, outOfRange, outOfRange, page(1, "")}}, 1, ""); status.Code(err) != codes.OutOfRange {
		t.Errorf("compacted for ever: %v", err)
	}
	if _, err := List(t.Context(), &script{lists: []any{page(1, "x"), page(1, "x"), page(1, "")}}, 1, ""); err == nil {
		t.Error("the same page twice was accepted")
	}
}

func TestFollow(t *testing.T) {
	for _, tc := range []struct {
		name    string
		script  script
		want    []string
		starts  []int64
		notices int
	}{
		{
			"changes", script{
				lists: []any{page(10, "", host("a", "1"))},
				streams: [][]any{{
					change(added, 11, host("b", "1")), change(modified, 12, host("a", "2")), change(deleted, 13, host("b", "1")),
					change(bookmark, 20, nil), unavailable,
				}, {tooSlow}},
			}, []string{"+b=1", "~a=2", "-b=1"}, []int64{10, 20, 20}, 1,
		},
		{
			"a transaction cut in two by a lost connection is delivered whole and once", script{
				lists: []any{page(10, "")},
				streams: [][]any{
					{change(added, 11, host("a", "1")), unavailable},
					{change(added, 11, host("a", "1")), change(added, 11, host("b", "1")), io.EOF},
				},
			}, []string{"+a=1", "+b=1"}, []int64{10, 10, 10}, 2,
		},
		{
			"compacted history is mended by a list", script{
				lists: []any{
					page(10, "", host("a", "1"), host("b", "1"), host("c", "1")),
					page(50, "", host("a", "1"), host("b", "2"), host("d", "1")),
				},
				streams: [][]any{{outOfRange}, {change(modified, 51, host("a", "9"))}},
			}, []string{"-c=1", "~b=2", "+d=1", "~a=9"}, []int64{10, 50, 50}, 1,
		},
		{
			"a list that fails is tried again", script{
				lists:   []any{page(10, ""), unavailable, page(30, "", host("a", "1"))},
				streams: [][]any{{outOfRange}, {outOfRange}},
			}, []string{"+a=1"}, []int64{10, 10, 30}, 1,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				changes, notices, err := run(t, &tc.script)
				if status.Code(err) != codes.PermissionDenied {
					t.Errorf("ended with %v", err)
				}
				if !slices.Equal(changes, tc.want) {
					t.Errorf("changes %v, want %v", changes, tc.want)
				}
				if !slices.Equal(tc.script.starts, tc.starts) {
					t.Errorf("started at %v, want %v", tc.script.starts, tc.starts)
				}
				if notices != tc.notices {
					t.Errorf("%d notices, want %d", notices, tc.notices)
				}
			})
		})
	}
}

func TestFollowBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{lists: []any{page(1, "")}, streams: make([][]any, 10)}
		start := time.Now()
		if _, _, err := run(t, s); status.Code(err) != codes.PermissionDenied {
			t.Fatal(err)
		}
		// 0.2 + 0.4 + 0.8 + 1.6 + 3.2 + 6.4 + 4 × 10 s
		if got, want := time.Since(start), 52600*time.Millisecond; got != want {
			t.Errorf("ten attempts took %v, want %v", got, want)
		}
	})
}

func TestFollowEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		f := &Follower{Client: &script{lists: []any{page(1, "")}, streams: make([][]any, 100)}}
		if _, err := f.Start(ctx); err != nil {
			t.Fatal(err)
		}
		if err := f.Run(ctx, func(Change) error { return nil }); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("ended with %v", err)
		}
		stop := errors.New("stop")
		f.Client = &script{streams: [][]any{{change(added, 2, host("a", "1"))}}}
		if err := f.Run(t.Context(), func(Change) error { return stop }); !errors.Is(err, stop) {
			t.Errorf("ended with %v", err)
		}
	})
}
