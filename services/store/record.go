package store

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"
)

// Encode marshals a record deterministically: equal records are equal bytes.
func Encode(m proto.Message) ([]byte, error) {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("store: encode %s: %w", m.ProtoReflect().Descriptor().FullName(), err)
	}
	return b, nil
}

// Decode unmarshals kv's value into a record, which it resets first.
func Decode(kv KV, into proto.Message) error {
	if err := proto.Unmarshal(kv.Value, into); err != nil {
		return fmt.Errorf("store: %s holds no %s: %w", kv.Key, into.ProtoReflect().Descriptor().FullName(), err)
	}
	return nil
}

// Load reads key into a record and returns its ModRevision. The error is
// ErrNotFound when the key is absent.
func Load[T proto.Message](ctx context.Context, s *Store, key string, into T) (int64, error) {
	kv, err := s.Get(ctx, key)
	if err != nil {
		return 0, err
	}
	return kv.ModRevision, Decode(kv, into)
}

// PutRecord is the Put that writes a record under key.
func PutRecord(key string, m proto.Message) (Put, error) {
	value, err := Encode(m)
	if err != nil {
		return Put{}, err
	}
	return Put{Key: key, Value: value}, nil
}
