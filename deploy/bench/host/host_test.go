//go:build linux

package host

import (
	"slices"
	"testing"
	"time"
)

func TestModel(t *testing.T) {
	if got := model("processor\t: 0\nmodel name\t: A Processor: 9000\nmodel name\t: another\n"); got != "A Processor: 9000" {
		t.Errorf("%q", got)
	}
	if got := model("processor: 0\n"); got == "" {
		t.Error("without a name there is none")
	}
}

func TestMissing(t *testing.T) {
	got := missing([]Need{{"sh", "dash"}, {"/no/such/file", "one"}, {"no-such-program", "two"}, {"/no/such/other", "one"}})
	if !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("%v", got)
	}
}

func TestLook(t *testing.T) {
	f, err := Look()
	if err != nil || f.Kernel == "" || f.CPU == "" || f.Cores < 1 || f.Go == "" {
		t.Errorf("%+v, %v", f, err)
	}
	if load, err := Load(); err != nil || load < 0 {
		t.Errorf("%v, %v", load, err)
	}
	if rate, err := RawCipher(time.Millisecond); err != nil || rate <= 0 {
		t.Errorf("%v, %v", rate, err)
	}
}
