package store

import (
	"bufio"
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
)

// ErrBackup says that a stream is no whole, undamaged backup of this fleet.
var ErrBackup = errors.New("store: bad backup")

// A backup, integers big-endian:
//
//	"SPBACKUP" | version 4 | length 4 | header (JSON)
//	'R' | key length 4 | value length 4 | key | value      in key order
//	...
//	'E' | count 8
//	SHA-256 of all that 32 | root key id 8 | HMAC-SHA256 of both 32
//
// The HMAC's key comes from the root key, so that nobody without it can make a
// backup that a restore accepts. Without a keyring id and HMAC are zero.
const (
	backupMagic   = "SPBACKUP"
	backupVersion = 1

	maxBackupHeader = 4096
	maxBackupValue  = MaxTxnBytes
	maxBackupTotal  = 1 << 30 // keys and values: they are held in memory
)

type backupWriter struct {
	out   *bufio.Writer
	hash  hash.Hash
	w     io.Writer // out and hash
	count uint64
}

func newBackupWriter(w io.Writer, info BackupInfo) (*backupWriter, error) {
	header, err := json.Marshal(info)
	if err != nil {
		return nil, fmt.Errorf("store: backup header: %w", err)
	}
	b := &backupWriter{out: bufio.NewWriterSize(w, 1<<16), hash: sha256.New()}
	b.w = io.MultiWriter(b.out, b.hash)
	head := binary.BigEndian.AppendUint32([]byte(backupMagic), backupVersion)
	head = binary.BigEndian.AppendUint32(head, uint32(len(header)))
	_, err = b.w.Write(append(head, header...))
	return b, err
}

func (b *backupWriter) record(kv KV) error {
	b.count++
	head := binary.BigEndian.AppendUint32([]byte{'R'}, uint32(len(kv.Key)))
	head = binary.BigEndian.AppendUint32(head, uint32(len(kv.Value)))
	_, err := b.w.Write(append(head, kv.Key...))
	if err == nil {
		_, err = b.w.Write(kv.Value)
	}
	if err != nil {
		return fmt.Errorf("store: write backup: %w", err)
	}
	return nil
}

func (b *backupWriter) finish(keys *Keyring) error {
	if _, err := b.w.Write(binary.BigEndian.AppendUint64([]byte{'E'}, b.count)); err != nil {
		return fmt.Errorf("store: write backup: %w", err)
	}
	digest := b.hash.Sum(nil)
	tag, err := backupTag(keys, digest)
	if err != nil {
		return err
	}
	_, err = b.out.Write(append(digest, tag...))
	if err := errors.Join(err, b.out.Flush()); err != nil {
		return fmt.Errorf("store: write backup: %w", err)
	}
	return nil
}

const backupTagLen = len(keyID{}) + sha256.Size

// backupTag is the root key's id and the HMAC.
func backupTag(keys *Keyring, digest []byte) ([]byte, error) {
	if keys == nil {
		return make([]byte, backupTagLen), nil
	}
	key, err := hkdf.Key(sha256.New, keys.root, nil, "sallyport store backup v1", sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("store: backup key: %w", err)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(digest)
	mac.Write(keys.rootID[:])
	return mac.Sum(keys.rootID[:len(keys.rootID):len(keys.rootID)]), nil
}

// readBackup reads and verifies the whole stream before it returns any of it.
func readBackup(r io.Reader, keys *Keyring) (BackupInfo, []KV, error) {
	in := &backupReader{in: bufio.NewReaderSize(r, 1<<16), hash: sha256.New()}
	info, err := in.header()
	if err != nil {
		return BackupInfo{}, nil, badBackup(err)
	}
	kvs, err := in.records()
	if err == nil {
		err = in.trailer(keys)
	}
	if err != nil {
		return BackupInfo{}, nil, badBackup(err)
	}
	info.Keys = uint64(len(kvs))
	return info, kvs, nil
}

func badBackup(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it is cut short", ErrBackup)
	}
	return fmt.Errorf("%w: %w", ErrBackup, err)
}

type backupReader struct {
	in   *bufio.Reader
	hash hash.Hash
}

// take reads n bytes; the caller has bounded n.
func (b *backupReader) take(n int) ([]byte, error) {
	buf := make([]byte, n)
	if _, err := io.ReadFull(b.in, buf); err != nil {
		return nil, err
	}
	b.hash.Write(buf)
	return buf, nil
}

func (b *backupReader) uint32(limit int, what string) (int, error) {
	raw, err := b.take(4)
	if err != nil {
		return 0, err
	}
	n := binary.BigEndian.Uint32(raw)
	if n > uint32(limit) {
		return 0, fmt.Errorf("%s of %d bytes, at most %d", what, n, limit)
	}
	return int(n), nil
}

func (b *backupReader) header() (BackupInfo, error) {
	head, err := b.take(len(backupMagic) + 4)
	if err != nil {
		return BackupInfo{}, err
	}
	if !bytes.HasPrefix(head, []byte(backupMagic)) {
		return BackupInfo{}, errors.New("the file is not a Sallyport backup")
	}
	if v := binary.BigEndian.Uint32(head[len(backupMagic):]); v != backupVersion {
		return BackupInfo{}, fmt.Errorf("version %d of the format, this program reads %d", v, backupVersion)
	}
	n, err := b.uint32(maxBackupHeader, "header")
	if err != nil {
		return BackupInfo{}, err
	}
	raw, err := b.take(n)
	if err != nil {
		return BackupInfo{}, err
	}
	var info BackupInfo
	return info, json.Unmarshal(raw, &info)
}

func (b *backupReader) records() ([]KV, error) {
	var kvs []KV
	last, total := "", 0
	for {
		kind, err := b.take(1)
		if err != nil {
			return nil, err
		}
		if kind[0] == 'E' {
			return kvs, b.count(len(kvs))
		}
		if kind[0] != 'R' {
			return nil, fmt.Errorf("record of unknown kind %#02x", kind[0])
		}
		kv, err := b.record()
		if err != nil {
			return nil, err
		}
		if kv.Key <= last {
			return nil, fmt.Errorf("key %q is out of order", kv.Key)
		}
		last = kv.Key
		if total += len(kv.Key) + len(kv.Value); total > maxBackupTotal {
			return nil, fmt.Errorf("more than %d bytes", maxBackupTotal)
		}
		kvs = append(kvs, kv)
	}
}

func (b *backupReader) record() (KV, error) {
	keyLen, err := b.uint32(MaxKeyLen, "key")
	if err != nil {
		return KV{}, err
	}
	valueLen, err := b.uint32(maxBackupValue, "value")
	if err != nil {
		return KV{}, err
	}
	key, err := b.take(keyLen)
	if err != nil {
		return KV{}, err
	}
	if err := CheckKey(string(key)); err != nil {
		return KV{}, err
	}
	value, err := b.take(valueLen)
	return KV{Key: string(key), Value: value}, err
}

func (b *backupReader) count(have int) error {
	raw, err := b.take(8)
	if err != nil {
		return err
	}
	if want := binary.BigEndian.Uint64(raw); want != uint64(have) {
		return fmt.Errorf("%d records, its end says %d", have, want)
	}
	return nil
}

func (b *backupReader) trailer(keys *Keyring) error {
	digest := b.hash.Sum(nil)
	tag, err := backupTag(keys, digest)
	if err != nil {
		return err
	}
	got, err := b.take(len(digest) + backupTagLen)
	if err != nil {
		return err
	}
	gotTag := got[len(digest):]
	id := len(keyID{})
	switch {
	case !bytes.Equal(got[:len(digest)], digest):
		return errors.New("its checksum is wrong: it is damaged")
	case !bytes.Equal(gotTag[:id], tag[:id]):
		return errors.New("it was made with another root key file: give that one")
	case !hmac.Equal(gotTag, tag):
		return errors.New("it was not made by a controller of this fleet")
	}
	if _, err := b.in.ReadByte(); !errors.Is(err, io.EOF) {
		return errors.New("something follows its end")
	}
	return nil
}
