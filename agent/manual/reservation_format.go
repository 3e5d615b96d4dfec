package manual

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// The file is JSON: numbers by the fingerprints of their keys, and a checksum over them, so that a number that
// a disk or an editor has changed is found out.
//
//	{
//	  "version": 1,
//	  "reserved": {"5e…": 4194304},
//	  "sha256": "…"
//	}
type sequenceText struct {
	Version  int                    `json:"version"`
	Reserved map[Fingerprint]uint64 `json:"reserved"`
	SHA256   string                 `json:"sha256"`
}

const (
	sequenceVersion = 1
	// maxSequenceFile bounds the file, bytes: well over 100,000 keys.
	maxSequenceFile = 16 << 20
)

func encodeReserved(reserved map[Fingerprint]uint64) ([]byte, error) {
	sum, err := checksum(reserved)
	if err != nil {
		return nil, err
	}
	text, err := json.MarshalIndent(sequenceText{Version: sequenceVersion, Reserved: reserved, SHA256: sum}, "", "  ")
	if err == nil && len(text) >= maxSequenceFile {
		err = fmt.Errorf("more than %d bytes of reservations", maxSequenceFile)
	}
	return append(text, '\n'), err
}

func decodeReserved(text []byte) (map[Fingerprint]uint64, error) {
	var s sequenceText
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("text behind its end")
	}
	if s.Version != sequenceVersion {
		return nil, fmt.Errorf("version %d: this agent knows version %d", s.Version, sequenceVersion)
	}
	if s.Reserved == nil {
		return nil, errors.New("it has no reservations")
	}
	sum, err := checksum(s.Reserved)
	if err == nil && sum != s.SHA256 {
		err = errors.New("the checksum is wrong")
	}
	return s.Reserved, err
}

// checksum is SHA-256 of the reservations as JSON, whose keys are sorted.
func checksum(reserved map[Fingerprint]uint64) (string, error) {
	text, err := json.Marshal(reserved)
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), err
}
