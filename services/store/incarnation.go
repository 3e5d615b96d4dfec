package store

import (
	"context"
	"errors"
	"time"

	"github.com/google/btree"
	"google.golang.org/protobuf/types/known/timestamppb"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
)

// Incarnation is one life of the store. A restore begins a new one, with a
// higher number; agents order what they are told by (incarnation, revision).
type Incarnation struct {
	Number      uint64
	Began       time.Time
	ModRevision int64 // of the key; fences every Commit after Begin
}

// Begin reads the store's incarnation, and creates the first one when there is
// none. From then on each Commit of this Store is fenced by it. The error is
// ErrRestoring when a restore was interrupted, and ErrRootKey when the keyring
// is not the one that seals this database.
func (s *Store) Begin(ctx context.Context) (Incarnation, error) {
	for {
		inc, err := s.ReadIncarnation(ctx)
		if errors.Is(err, ErrNotFound) {
			inc, err = s.createIncarnation(ctx, nextIncarnation(0, s.now()))
		}
		if errors.Is(err, ErrConflict) {
			continue // another controller was faster: read what it wrote
		}
		if err == nil {
			err = s.checkRootKey(ctx)
		}
		if err != nil {
			return Incarnation{}, err
		}
		s.begun.Store(&inc)
		return inc, nil
	}
}

// ReadIncarnation reads the incarnation without creating one. The error is
// ErrNotFound, or ErrRestoring when a restore was interrupted.
func (s *Store) ReadIncarnation(ctx context.Context) (Incarnation, error) {
	if _, err := s.Get(ctx, RestoringKey); !errors.Is(err, ErrNotFound) {
		if err == nil {
			err = ErrRestoring
		}
		return Incarnation{}, err
	}
	kv, err := s.Get(ctx, IncarnationKey)
	if err != nil {
		return Incarnation{}, err
	}
	return decodeIncarnation(kv)
}

func (s *Store) createIncarnation(ctx context.Context, inc Incarnation) (Incarnation, error) {
	value, err := encodeIncarnation(inc)
	if err != nil {
		return Incarnation{}, err
	}
	inc.ModRevision, err = s.commit(ctx, Txn{
		Compares: []Compare{Unchanged(IncarnationKey, 0), Unchanged(RestoringKey, 0)},
		Puts:     []Put{{Key: IncarnationKey, Value: value}},
	}, nil)
	return inc, err
}

// checkRootKey compares the keyring with the database: a controller that came
// with another root key would write what the others cannot open.
func (s *Store) checkRootKey(ctx context.Context) error {
	if s.keys == nil {
		return nil
	}
	for {
		kv, err := s.Get(ctx, RootCheckKey)
		if err == nil {
			if _, err := s.Unseal(RootCheckKey, kv.Value); err != nil {
				return s.keys.refused()
			}
			s.keys.accepted()
			return nil
		}
		if !errors.Is(err, ErrNotFound) {
			return err
		}
		sealed, err := s.Seal(RootCheckKey, nil)
		if err != nil {
			return err
		}
		_, err = s.commit(ctx, Txn{
			Compares: []Compare{Unchanged(RootCheckKey, 0), Unchanged(RestoringKey, 0)},
			Puts:     []Put{{Key: RootCheckKey, Value: sealed}},
		}, nil)
		if err == nil {
			s.keys.accepted()
		}
		if !errors.Is(err, ErrConflict) {
			return err
		}
		if _, err := s.ReadIncarnation(ctx); err != nil {
			return err // a restore has begun
		}
	}
}

// nextIncarnation is above the previous one, and above every one of a lost
// database, since it counts seconds.
func nextIncarnation(previous uint64, now time.Time) Incarnation {
	return Incarnation{Number: max(previous+1, uint64(max(now.Unix(), 1))), Began: now.UTC().Truncate(time.Second)}
}

// fencedBy reports whether a listed state still is of this incarnation.
func (s *Store) fencedBy(tree *btree.BTreeG[*KV]) error {
	begun := s.begun.Load()
	if begun == nil {
		return nil
	}
	kv, ok := tree.Get(&KV{Key: IncarnationKey})
	if !ok || kv.ModRevision != begun.ModRevision || tree.Has(&KV{Key: RestoringKey}) {
		return ErrIncarnation
	}
	return nil
}

func encodeIncarnation(inc Incarnation) ([]byte, error) {
	return Encode(&controllerv1.Incarnation{Number: inc.Number, BeginTime: timestamppb.New(inc.Began)})
}

func decodeIncarnation(kv KV) (Incarnation, error) {
	var record controllerv1.Incarnation
	if err := Decode(kv, &record); err != nil {
		return Incarnation{}, err
	}
	return Incarnation{Number: record.GetNumber(), Began: record.GetBeginTime().AsTime(), ModRevision: kv.ModRevision}, nil
}
