//go:build linux

package interop

import (
	"strings"
	"testing"
	"time"
)

func TestReport(t *testing.T) {
	all := Matrix()
	r := Report{Date: time.Unix(0, 0), Kernel: "6.1", Agent: "sallyport-agent 1", Took: time.Minute}
	for _, c := range all {
		result := Result{Case: c}
		if c.Number == 2 { // aes128gcm16, tunnel, IPv4, native, with ESN
			result.Failures = []string{"echo 56 from ours: lost"}
		}
		r.Results = append(r.Results, result)
	}
	var b strings.Builder
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| aes128gcm16 | **1 of 2** | ✓ |",
		"| aes256gcm16 | ✓ | ✓ |",
		"* case 2, " + all[1].String() + ": echo 56 from ours: lost",
		"null-blake2s128",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the report does not have %q", want)
		}
	}
	if strings.Contains(b.String(), "Nothing.") {
		t.Error("the report says that nothing failed")
	}
}
