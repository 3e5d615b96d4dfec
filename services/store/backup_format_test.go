package store_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"sallyport.dev/sallyport/services/store"
)

// The checksum of these is right, and what they hold is not.
func TestBackupWithBadRecords(t *testing.T) {
	a, b := store.KV{Key: "a", Value: []byte("1")}, store.KV{Key: "b"}
	for name, tt := range map[string]struct {
		kvs  []store.KV
		want string
	}{
		"good":          {[]store.KV{a, b}, ""},
		"empty":         {nil, ""},
		"unordered":     {[]store.KV{b, a}, "out of order"},
		"twice":         {[]store.KV{a, a}, "out of order"},
		"an escape":     {[]store.KV{{Key: "../x"}}, "not allowed"},
		"no key":        {[]store.KV{{}}, "bad key"},
		"a long key":    {[]store.KV{{Key: strings.Repeat("k", store.MaxKeyLen+1)}}, "key of 1025 bytes"},
		"a large value": {[]store.KV{{Key: "a", Value: make([]byte, store.MaxTxnBytes+1)}}, "value of 1048577 bytes"},
	} {
		var stream bytes.Buffer
		if err := store.WriteBackup(&stream, nil, tt.kvs...); err != nil {
			t.Fatal(err)
		}
		got, err := store.ReadBackup(&stream, nil)
		if tt.want == "" {
			if err != nil || len(got) != len(tt.kvs) {
				t.Errorf("%s: %v, %v", name, got, err)
			}
			continue
		}
		if !errors.Is(err, store.ErrBackup) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want ErrBackup with %q", name, err, tt.want)
		}
	}
}
