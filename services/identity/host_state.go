package identity

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/fault"
	"sallyport.dev/sallyport/services/store"
)

// hostState is a host with its recorded key, as they were read.
type hostState struct {
	specKey        string
	specCreated    int64 // create revision of the spec; 0 when there is no such host
	uid            []byte
	recordKey      string
	record         *controllerv1.HostIdentity
	recordRevision int64 // 0 when no key is recorded
}

func (h hostState) exists() bool { return h.specCreated != 0 }

func (h hostState) holds(hash [sha256.Size]byte) bool {
	return h.recordRevision != 0 && bytes.Equal(h.record.GetPublicKeyHash(), hash[:])
}

// sameHost holds while the host is the one that was read, or there still is none.
func (h hostState) sameHost() store.Compare {
	if h.exists() {
		return store.CreateRevisionIs(h.specKey, h.specCreated)
	}
	return store.Unchanged(h.specKey, 0)
}

func (s *Service) loadHost(ctx context.Context, name string) (h hostState, err error) {
	if h.specKey, err = store.SpecKey(store.KindHost, name); err != nil {
		return h, err
	}
	if h.recordKey, err = store.HostIDKey(name); err != nil {
		return h, err
	}
	h.record = new(controllerv1.HostIdentity)
	if h.recordRevision, err = load(ctx, s.store, h.recordKey, h.record); err != nil {
		return h, err
	}
	kv, err := s.store.Get(ctx, h.specKey)
	if isNotFound(err) {
		return h, nil
	}
	if err != nil {
		return h, err
	}
	h.specCreated = kv.CreateRevision
	h.uid, err = hostUID(kv)
	return h, err
}

// hostUID reads a host's uid, 8 bytes.
func hostUID(kv store.KV) ([]byte, error) {
	var host operatorv1.Host
	if err := store.Decode(kv, &host); err != nil {
		return nil, err
	}
	uid, err := hex.DecodeString(host.GetMetadata().GetUid())
	if err != nil || len(uid) != uidLen {
		return nil, fmt.Errorf("identity: %s has no uid", kv.Key)
	}
	return uid, nil
}

const uidLen = 8

// check says whether a certificate of that key counts for the host.
func (h hostState) check(hash [sha256.Size]byte) *fault.Error {
	switch {
	case h.recordRevision == 0 || !h.exists():
		return ErrHostRemoved
	case !h.holds(hash):
		return ErrKeyRevoked
	case len(h.record.GetHostUid()) != 0 && !bytes.Equal(h.record.GetHostUid(), h.uid):
		return ErrHostRemoved // and another one made under its name
	}
	return nil
}

func isNotFound(err error) bool { return errors.Is(err, store.ErrNotFound) }
