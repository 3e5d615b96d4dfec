package identity

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"errors"

	"google.golang.org/protobuf/types/known/timestamppb"

	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	"sallyport.dev/sallyport/services/protocol/enrol"
	"sallyport.dev/sallyport/services/store"
)

// certify issues a certificate for the recorded key and records its end. The record must still be
// of that key, and the host of that uid must still exist.
func (s *Service) certify(ctx context.Context, name string, key crypto.PublicKey, hash [sha256.Size]byte, uid []byte) (id *fleetv1.Identity, err error) {
	err = retry(ctx, func() error {
		id, err = s.certifyOnce(ctx, name, key, hash, uid)
		return err
	})
	return id, err
}

func (s *Service) certifyOnce(ctx context.Context, name string, key crypto.PublicKey, hash [sha256.Size]byte, uid []byte) (*fleetv1.Identity, error) {
	h, err := s.loadHost(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := h.check(hash); err != nil {
		return nil, err.WithResource("Host", name)
	}
	if !bytes.Equal(h.uid, uid) {
		return nil, ErrHostRemoved.WithResource("Host", name)
	}
	leaf, signer, err := s.issue(enrol.Name{TrustDomain: s.trustDomain, Kind: enrol.KindHost, Name: name}, key, hostLife)
	if err != nil {
		return nil, err
	}
	h.record.HostUid, h.record.RootId, h.record.NotAfter = uid, signer.id, timestamppb.New(leaf.NotAfter)
	t := store.Txn{Compares: []store.Compare{h.sameHost(), store.Unchanged(signer.key, signer.revision)}}
	if err := put(&t, h.recordKey, h.recordRevision, h.record); err != nil {
		return nil, err
	}
	if err := s.commitIssued(ctx, t, signer); err != nil {
		return nil, err
	}
	bundle, err := s.TrustBundle()
	if err != nil {
		return nil, err
	}
	return &fleetv1.Identity{
		Host: name, CertificateChain: [][]byte{leaf.Raw}, TrustBundle: bundle,
		RenewAt: timestamppb.New(half(leaf.NotBefore, leaf.NotAfter)),
	}, nil
}

// commitIssued commits the record of a certificate. When the root that signed it has changed, the
// view has to see that before the next try.
func (s *Service) commitIssued(ctx context.Context, t store.Txn, signer *root, revoked ...store.AuditEntry) error {
	_, err := s.commit(ctx, t, revoked...)
	if conflict, ok := errors.AsType[*store.ConflictError](err); ok && conflict.Key == signer.key {
		head, headErr := s.store.HeadRevision(ctx)
		if headErr != nil {
			return headErr
		}
		if waitErr := s.view.WaitRevision(ctx, head); waitErr != nil {
			return waitErr
		}
	}
	return err
}
