package operator

import (
	"context"
	"errors"
	"io"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/fault"
	"sallyport.dev/sallyport/services/store"
)

// backupChunk is the size of a message of Backup.
const backupChunk = 128 << 10

// RotateCA implements AdminService.
func (s *Service) RotateCA(ctx context.Context, req *operatorv1.RotateCARequest) (*operatorv1.RotateCAResponse, error) {
	return s.authority.RotateCA(ctx, req)
}

// IssueOperator implements AdminService.
func (s *Service) IssueOperator(ctx context.Context, req *operatorv1.IssueOperatorRequest) (*operatorv1.IssueOperatorResponse, error) {
	return s.authority.IssueOperator(ctx, req)
}

// RevokeOperator implements AdminService. Calls that run end with the next look at their caller.
func (s *Service) RevokeOperator(ctx context.Context, req *operatorv1.RevokeOperatorRequest) (*operatorv1.RevokeOperatorResponse, error) {
	if err := s.authority.RevokeOperator(ctx, req.GetName()); err != nil {
		return nil, err
	}
	s.log.WarnContext(ctx, "operator revoked", "operator", req.GetName(), "actor", actor(ctx))
	return &operatorv1.RevokeOperatorResponse{}, nil
}

// Backup implements AdminService.
func (s *Service) Backup(_ *operatorv1.BackupRequest, stream operatorv1.AdminService_BackupServer) error {
	w := &chunkWriter{send: func(b []byte) error { return stream.Send(&operatorv1.BackupResponse{Chunk: b}) }}
	info, err := s.store.Backup(stream.Context(), w)
	if err != nil {
		return err
	}
	if err := w.flush(); err != nil {
		return err
	}
	s.log.InfoContext(stream.Context(), "backup taken", "revision", info.Revision, "actor", actor(stream.Context()))
	return nil
}

// chunkWriter collects small writes into messages.
type chunkWriter struct {
	send func([]byte) error
	buf  []byte
}

// Write implements io.Writer.
func (w *chunkWriter) Write(p []byte) (int, error) {
	written := len(p)
	for len(p) > 0 {
		n := min(len(p), backupChunk-len(w.buf))
		w.buf, p = append(w.buf, p[:n]...), p[n:]
		if len(w.buf) == backupChunk {
			if err := w.flush(); err != nil {
				return written - len(p), err
			}
		}
	}
	return written, nil
}

func (w *chunkWriter) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	b := w.buf
	w.buf = nil
	return w.send(b)
}

// Restore implements AdminService. It ends this incarnation: the process starts over with the next one, and
// refuses everything until then.
func (s *Service) Restore(stream operatorv1.AdminService_RestoreServer) error {
	report, err := s.store.Restore(stream.Context(), &chunkReader{receive: stream.Recv}, store.RestoreOptions{Now: s.now(), Audit: s.audit})
	if err != nil {
		return restoreFault(err)
	}
	s.log.WarnContext(stream.Context(), "store restored; the controllers start over",
		"incarnation", report.Incarnation.Number, "written", report.Written, "replayed", len(report.Replayed), "actor", actor(stream.Context()))
	return stream.SendAndClose(&operatorv1.RestoreResponse{
		Incarnation: report.Incarnation.Number, Keys: uint64(report.Written), Revocations: uint64(len(report.Replayed)),
	})
}

// restoreFault finds words for what an administrator can do something about.
func restoreFault(err error) error {
	switch {
	case errors.Is(err, store.ErrBackup):
		return fault.New(fault.InvalidArgument, "this is not a whole backup of this fleet, made with the same root key: "+err.Error()).Wrap(err)
	case errors.Is(err, store.ErrAudit):
		return fault.New(fault.FailedPrecondition, "the audit file is damaged, so revocations could be lost: repair it, or restore offline without it: "+err.Error()).Wrap(err)
	}
	return err
}

// chunkReader reads the messages of Restore as one stream.
type chunkReader struct {
	receive func() (*operatorv1.RestoreRequest, error)
	buf     []byte
}

// Read implements io.Reader.
func (r *chunkReader) Read(p []byte) (int, error) {
	for len(r.buf) == 0 {
		m, err := r.receive()
		if err != nil {
			return 0, err // io.EOF at the end
		}
		r.buf = m.GetChunk()
	}
	n := copy(p, r.buf)
	r.buf = r.buf[n:]
	return n, nil
}

var _ io.Reader = (*chunkReader)(nil)
