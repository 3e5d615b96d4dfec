package store_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/store/storetest"
)

// Whatever a stream holds, it is refused or is read whole: keys in order, each
// one valid.
func FuzzReadBackup(f *testing.F) {
	s := storetest.New(f)
	if _, err := s.Begin(f.Context()); err != nil {
		f.Fatal(err)
	}
	if _, err := s.Commit(f.Context(), store.Txn{Puts: []store.Put{{Key: "fleet", Value: []byte("x")}, {Key: "spec/host/a"}}}); err != nil {
		f.Fatal(err)
	}
	var good bytes.Buffer
	if _, err := s.Backup(f.Context(), &good); err != nil {
		f.Fatal(err)
	}
	f.Add(good.Bytes())
	f.Add([]byte("SPBACKUP\x00\x00\x00\x01\xff\xff\xff\xff"))
	record := binary.BigEndian.AppendUint32([]byte("SPBACKUP\x00\x00\x00\x01\x00\x00\x00\x02{}R"), 1<<31)
	f.Add(binary.BigEndian.AppendUint32(record, 1<<31))
	keys := s.Keys()
	f.Fuzz(func(t *testing.T, stream []byte) {
		kvs, err := store.ReadBackup(bytes.NewReader(stream), keys)
		if err == nil && !bytes.Equal(stream, good.Bytes()) {
			t.Fatalf("a stream without the root key's mark was accepted: %d keys", len(kvs))
		}
		// Without the mark only the form counts.
		kvs, err = store.ReadBackup(bytes.NewReader(stream), nil)
		for i, kv := range kvs {
			if err != nil || store.CheckKey(kv.Key) != nil || (i > 0 && kvs[i-1].Key >= kv.Key) {
				t.Fatalf("keys %v, error %v", kvs, err)
			}
		}
	})
}
