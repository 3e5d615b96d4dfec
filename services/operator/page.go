package operator

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"sync"
	"time"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/store"
)

const (
	// A snapshot pins what it shows in memory, so only so many are kept for clients on their way through
	// a list, and only for so long after the last page.
	maxPageSnapshots = 64
	pageSnapshotLife = 5 * time.Minute

	pageTokenVersion = 1
	pageTokenHead    = 1 + 8 + 8 // version, revision, hash of kind and selector
	pageTokenMAC     = 16
)

// pages keeps the snapshots of lists that are being paged through, so that every page shows the same
// revision. A token is
//
//	version (1) | revision (8) | hash of kind and selector (8) | last name | HMAC-SHA256 (16 of 32)
//
// under a key of this process, since the snapshot is this process's too.
type pages struct {
	key [32]byte
	now func() time.Time

	mu   sync.Mutex
	kept map[int64]*keptSnapshot
}

type keptSnapshot struct {
	snapshot *store.Snapshot
	used     time.Time
}

func newPages(key [32]byte, now func() time.Time) *pages {
	return &pages{key: key, now: now, kept: make(map[int64]*keptSnapshot)}
}

// token keeps the snapshot and says where the next page begins.
func (p *pages) token(snapshot *store.Snapshot, req *operatorv1.ListRequest, last string) string {
	p.keep(snapshot)
	b := []byte{pageTokenVersion}
	b = binary.BigEndian.AppendUint64(b, uint64(snapshot.Revision()))
	b = append(b, listHash(req)...)
	b = append(b, last...)
	return base64.RawURLEncoding.EncodeToString(append(b, p.mac(b)...))
}

// open checks a token and finds its snapshot again.
func (p *pages) open(req *operatorv1.ListRequest) (*store.Snapshot, string, error) {
	b, err := base64.RawURLEncoding.DecodeString(req.GetPageToken())
	if err != nil || len(b) < pageTokenHead+pageTokenMAC || b[0] != pageTokenVersion {
		return nil, "", invalidField("page_token", "is not one that List returned")
	}
	body, mac := b[:len(b)-pageTokenMAC], b[len(b)-pageTokenMAC:]
	if !hmac.Equal(mac, p.mac(body)) {
		return nil, "", listAgain("the page token is not of this controller process, or was changed")
	}
	if !hmac.Equal(body[9:pageTokenHead], listHash(req)) {
		return nil, "", invalidField("page_token", "belongs to a list of another kind or selector")
	}
	snapshot := p.find(int64(binary.BigEndian.Uint64(body[1:9])))
	if snapshot == nil {
		return nil, "", listAgain("the list was begun too long ago, and what it showed is gone")
	}
	return snapshot, string(body[pageTokenHead:]), nil
}

func (p *pages) mac(body []byte) []byte {
	h := hmac.New(sha256.New, p.key[:])
	h.Write(body)
	return h.Sum(nil)[:pageTokenMAC]
}

func listHash(req *operatorv1.ListRequest) []byte {
	h := sha256.New()
	h.Write(binary.BigEndian.AppendUint32(nil, uint32(req.GetKind())))
	h.Write([]byte(req.GetSelector()))
	return h.Sum(nil)[:8]
}

func (p *pages) find(revision int64) *store.Snapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expire()
	k, ok := p.kept[revision]
	if !ok {
		return nil
	}
	k.used = p.now()
	return k.snapshot
}

func (p *pages) keep(snapshot *store.Snapshot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expire()
	if k, ok := p.kept[snapshot.Revision()]; ok {
		k.used = p.now()
		return
	}
	if len(p.kept) >= maxPageSnapshots {
		delete(p.kept, p.oldest())
	}
	p.kept[snapshot.Revision()] = &keptSnapshot{snapshot, p.now()}
}

func (p *pages) expire() {
	for revision, k := range p.kept {
		if p.now().Sub(k.used) > pageSnapshotLife {
			delete(p.kept, revision)
		}
	}
}

func (p *pages) oldest() int64 {
	var oldest int64
	var used time.Time
	for revision, k := range p.kept {
		if used.IsZero() || k.used.Before(used) {
			oldest, used = revision, k.used
		}
	}
	return oldest
}
