package daemonlog

import (
	"bytes"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func TestLogger(t *testing.T) {
	for _, c := range []struct{ args, want, err string }{
		{"", "level=INFO msg=hello", ""},
		{"--log-format=json", `"msg":"hello"`, ""},
		{"--log-level=warn", "", ""},
		{"--log-level=loud", "", `--log-level "loud": want debug, info, warn or error`},
		{"--log-format=xml", "", `--log-format "xml": want text or json`},
	} {
		var o Options
		flags := pflag.NewFlagSet("", pflag.ContinueOnError)
		o.Register(flags)
		if err := flags.Parse(strings.Fields(c.args)); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		log, err := o.Logger(&out)
		if c.err != "" {
			if err == nil || err.Error() != c.err {
				t.Errorf("%s: %v", c.args, err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", c.args, err)
		}
		log.Info("hello")
		if got := out.String(); !strings.Contains(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%s: wrote %q", c.args, got)
		}
	}
}
