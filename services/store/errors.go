package store

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

var (
	// ErrNotFound says that a key does not exist.
	ErrNotFound = errors.New("store: not found")
	// ErrConflict says that a compare of a transaction failed: nothing was
	// written. The error is a *ConflictError.
	ErrConflict = errors.New("store: conflict")
	// ErrTxnTooLarge says that a transaction is over MaxTxnOps or MaxTxnBytes.
	ErrTxnTooLarge = errors.New("store: transaction too large")
	// ErrBadKey says that a key or a name cannot be part of the key layout.
	ErrBadKey = errors.New("store: bad key")
	// ErrCompacted says that a revision is no longer in etcd: list again.
	ErrCompacted = errors.New("store: revision compacted")
	// ErrUnavailable says that etcd did not answer. The outcome of a Commit that
	// ends so is unknown; a transaction with compares is safe to repeat.
	ErrUnavailable = errors.New("store: etcd unavailable")
	// ErrNoSpace says that etcd's quota is used up (alarm NOSPACE).
	ErrNoSpace = errors.New("store: etcd is out of space")
	// ErrClosed says that a Store, View or Subscription was closed.
	ErrClosed = errors.New("store: closed")
	// ErrBehind says that etcd's head is below a revision that somebody has
	// seen: the database was rolled back without `sallyport restore`.
	ErrBehind = errors.New("store: etcd is behind a revision that was already seen; run sallyport restore")
	// ErrIncarnation says that a restore has ended the incarnation of this
	// process: it must stop and start again.
	ErrIncarnation = errors.New("store: a restore has begun a new incarnation; restart the controller")
	// ErrRootKey says that the root key file is not the one that sealed the
	// secrets of this database.
	ErrRootKey = errors.New("store: the root key file is not the one of this database: put the right file in its place")
	// ErrRestoring says that a restore is running or was interrupted.
	ErrRestoring = errors.New("store: a restore was not finished; run sallyport restore again")
)

// ConflictError tells which compare of a transaction failed.
type ConflictError struct {
	Key    string // first key whose compare failed
	Want   string // what the transaction expected, in words
	Have   int64  // the revision compared: mod or create; 0 = absent
	Create bool   // Have is a create revision
}

// Error implements error.
func (e *ConflictError) Error() string {
	have := "absent"
	switch {
	case e.Have != 0 && e.Create:
		have = fmt.Sprintf("created at revision %d", e.Have)
	case e.Have != 0:
		have = fmt.Sprintf("at revision %d", e.Have)
	}
	return fmt.Sprintf("store: conflict: %s: want %s, is %s", e.Key, e.Want, have)
}

// Is makes errors.Is(err, ErrConflict) true.
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

// wrap turns an error of etcd's client into one of this package's. outer is the
// caller's context: its own end is passed on as it is.
func (s *Store) wrap(outer context.Context, doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case outer.Err() != nil:
		return fmt.Errorf("store: %s: %w", doing, outer.Err())
	case errors.Is(err, rpctypes.ErrCompacted):
		return fmt.Errorf("%w: %s", ErrCompacted, doing)
	case errors.Is(err, rpctypes.ErrNoSpace):
		return fmt.Errorf("%w: %s: compact and defragment it, or raise its quota, then disarm the alarm", ErrNoSpace, doing)
	case errors.Is(err, rpctypes.ErrRequestTooLarge), errors.Is(err, rpctypes.ErrTooManyOps):
		return fmt.Errorf("%w: %s: etcd's own limit: %v", ErrTxnTooLarge, doing, err)
	case s.ctx.Err() != nil:
		return fmt.Errorf("%w: %s", ErrClosed, doing)
	case isUnavailable(err):
		return fmt.Errorf("%w: %s: no answer from %s: %v", ErrUnavailable, doing, strings.Join(s.endpoints, ", "), err)
	}
	return fmt.Errorf("store: %s: %w", doing, err)
}

func isUnavailable(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded:
		return true
	}
	var etcd rpctypes.EtcdError
	return errors.As(err, &etcd) && (etcd.Code() == codes.Unavailable || etcd.Code() == codes.DeadlineExceeded)
}
