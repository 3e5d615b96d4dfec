package operator

import (
	"context"
	"errors"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/fault"
	"sallyport.dev/sallyport/services/store"
)

// maxAtOnce is how many resources one transaction of Apply takes.
const maxAtOnce = 40

// errSplit says that an Apply does not fit into one transaction.
var errSplit = errors.New("operator: too much for one transaction")

// Apply implements ResourceService.
//
//	check the request ─▶ decide all of it on one snapshot ─┬─ dry run: answer
//	                                                       ├─ up to 40: commit that
//	                                                       └─ more: prune, then write one by one
func (s *Service) Apply(ctx context.Context, req *operatorv1.ApplyRequest) (*operatorv1.ApplyResponse, error) {
	a, err := parseApply(req)
	if err != nil {
		return nil, err
	}
	if len(req.GetResources()) <= maxAtOnce || req.GetDryRun() {
		err := s.applyAtOnce(ctx, a)
		if !errors.Is(err, errSplit) {
			return a.response(), err
		}
	}
	if err := s.checkEach(ctx, a); err != nil {
		return nil, err
	}
	s.writeEach(ctx, a)
	return a.response(), nil
}

// applyAtOnce decides everything and, unless it is a dry run, commits it.
func (s *Service) applyAtOnce(ctx context.Context, a *application) error {
	revision, err := s.transact(ctx, a.dryRun, func(d *draft) error {
		if err := d.apply(a); err != nil {
			return err
		}
		if !a.dryRun && !d.fits() {
			return errSplit
		}
		return nil
	})
	if err != nil || a.dryRun {
		return err
	}
	for _, r := range a.results {
		a.written(r, revision)
	}
	s.log.InfoContext(ctx, "resources applied", "count", len(a.results), "revision", revision, "actor", actor(ctx))
	s.show(ctx, revision)
	return nil
}

// checkEach decides everything once, so that nothing is written when something is wrong.
func (s *Service) checkEach(ctx context.Context, a *application) error {
	_, err := s.transact(ctx, true, func(d *draft) error { return d.apply(a) })
	return err
}

// writeEach writes what has to change one by one. What is pruned goes first, since others may take over
// its subnets. The results say what became of each.
func (s *Service) writeEach(ctx context.Context, a *application) {
	b := &bulk{service: s, ctx: ctx, application: a}
	for _, r := range a.results[len(a.resources):] {
		b.prune(r)
	}
	var unwritten []int
	for i := range a.resources {
		if a.results[i].GetAction() != operatorv1.ApplyAction_APPLY_ACTION_UNCHANGED {
			unwritten = append(unwritten, i)
		}
	}
	// A subnet can only be taken once its last owner has been written: go on while that helps.
	for before := len(unwritten) + 1; len(unwritten) > 0 && len(unwritten) < before; {
		before = len(unwritten)
		unwritten = b.writeAll(unwritten)
	}
	s.log.InfoContext(ctx, "resources applied one by one", "count", len(a.results), "actor", actor(ctx))
	s.show(ctx, b.last)
}

// bulk writes the resources of an Apply one by one.
type bulk struct {
	*application
	service *Service
	ctx     context.Context
	last    int64 // newest revision written
	fatal   error // nothing can be written any more
}

// writeAll tries each and returns those that may work later.
func (b *bulk) writeAll(unwritten []int) (later []int) {
	for _, i := range unwritten {
		if err := b.write(i); err != nil && fault.ReasonOf(err) == ReasonInvalid {
			later = append(later, i)
		}
	}
	return later
}

func (b *bulk) write(i int) error {
	result := b.results[i]
	if b.fatal != nil {
		fail(result, b.fatal)
		return b.fatal
	}
	var made *operatorv1.ApplyResponse_Result
	revision, err := b.service.transact(b.ctx, false, func(d *draft) (err error) {
		made, err = d.upsert(b.resources[i])
		return err
	})
	if err != nil {
		b.note(err)
		fail(result, err)
		return err
	}
	made.Warnings = result.GetWarnings()
	b.results[i] = made
	b.done(made, revision)
	return nil
}

func (b *bulk) prune(result *operatorv1.ApplyResponse_Result) {
	if b.fatal != nil {
		fail(result, b.fatal)
		return
	}
	// The revision that was decided from: what was changed since then is not pruned.
	_, md := kindOf(result.GetBefore())
	revision, err := b.service.deleteQuietly(b.ctx, result.GetKind(), result.GetName(), md.GetRevision())
	if err != nil && fault.KindOf(err) != fault.NotFound {
		b.note(err)
		fail(result, err)
		return
	}
	b.done(result, revision)
}

func (b *bulk) done(r *operatorv1.ApplyResponse_Result, revision int64) {
	b.last = max(b.last, revision)
	b.written(r, revision)
}

// note keeps an error after which it is of no use to go on.
func (b *bulk) note(err error) {
	for _, end := range []error{store.ErrUnavailable, store.ErrNoSpace, store.ErrIncarnation, store.ErrClosed, store.ErrBehind, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, end) {
			b.fatal = err
		}
	}
}

func fail(r *operatorv1.ApplyResponse_Result, err error) {
	r.Action, r.Error, r.After = operatorv1.ApplyAction_APPLY_ACTION_FAILED, textOf(err), nil
}

// textOf is what the caller may know of an error.
func textOf(err error) string {
	f, ok := errors.AsType[*fault.Error](err)
	switch {
	case ok:
		return f.Public()
	case errors.Is(err, store.ErrUnavailable):
		return "etcd did not answer: whether it was written is unknown; apply again"
	case errors.Is(err, store.ErrNoSpace):
		return "etcd is out of space: see sallyport status; apply again afterwards"
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return "the call ended before: apply again"
	case errors.Is(err, store.ErrIncarnation):
		return "the store was restored meanwhile: apply again"
	}
	return "internal error: the controller's log has the details"
}
