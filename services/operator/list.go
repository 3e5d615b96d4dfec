package operator

import (
	"context"

	"google.golang.org/protobuf/proto"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
)

const (
	defaultPageSize = 500
	// maxPageBytes keeps a page below the 4 MiB that gRPC clients accept by default.
	maxPageBytes = 2 << 20
)

// List implements ResourceService.
func (s *Service) List(_ context.Context, req *operatorv1.ListRequest) (*operatorv1.ListResponse, error) {
	match, err := parseFilter("selector", req.GetSelector())
	if err != nil {
		return nil, err
	}
	snapshot, after, err := s.pageStart(req)
	if err != nil {
		return nil, err
	}
	p := page{kind: req.GetKind(), size: int(req.GetPageSize()), match: match, after: after}
	if p.size == 0 {
		p.size = defaultPageSize
	}
	if err := s.read(snapshot, p.fill); err != nil {
		return nil, err
	}
	resp := &operatorv1.ListResponse{Resources: p.resources, Revision: snapshot.Revision()}
	if p.more {
		resp.NextPageToken = s.pages.token(snapshot, req, p.last)
	}
	return resp, nil
}

// pageStart is the snapshot that the list shows, and the name after which the page begins.
func (s *Service) pageStart(req *operatorv1.ListRequest) (*store.Snapshot, string, error) {
	if req.GetPageToken() != "" {
		return s.pages.open(req)
	}
	snapshot, err := s.snapshot()
	return snapshot, "", err
}

// filter selects by label; nil selects all.
type filter func(*operatorv1.Metadata) bool

func parseFilter(field, selector string) (filter, error) {
	if selector == "" {
		return func(*operatorv1.Metadata) bool { return true }, nil
	}
	sel, err := plan.ParseSelector(selector)
	if err != nil {
		return nil, invalidField(field, "%v", err)
	}
	return func(md *operatorv1.Metadata) bool { return sel.Matches(md.GetLabels()) }, nil
}

// page collects one page.
type page struct {
	kind  operatorv1.Kind
	size  int
	match filter
	after string // names up to this one are on earlier pages

	resources []*operatorv1.Resource
	bytes     int
	last      string
	more      bool
}

func (p *page) fill(r reader) (err error) {
	r.snapshot.RangeFrom(keyPrefix(p.kind), p.from(), func(kv store.KV) bool {
		var all []*operatorv1.Resource
		if all, err = r.resources(p.kind, kv); err != nil {
			err = unreadable(kv, err)
			return false
		}
		for _, one := range all {
			if !p.add(one) {
				return false
			}
		}
		return true
	})
	return err
}

// from is the first key that may hold a resource of the page.
func (p *page) from() string {
	if p.after == "" {
		return ""
	}
	key, _ := keyOf(p.kind, p.after)
	return key
}

// add takes one resource; false when the page is full.
func (p *page) add(r *operatorv1.Resource) bool {
	_, md := kindOf(r)
	if md.GetName() <= p.after || !p.match(md) {
		return true
	}
	size := proto.Size(r)
	if len(p.resources) == p.size || len(p.resources) > 0 && p.bytes+size > maxPageBytes {
		p.more = true
		return false
	}
	p.resources, p.bytes, p.last = append(p.resources, r), p.bytes+size, md.GetName()
	return true
}
