package local

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"sallyport.dev/sallyport/services/protocol/ipwire"
)

func TestParsePacket(t *testing.T) {
	for text, want := range map[string]string{
		"tcp 10.1.0.1:40000 > 10.2.0.2:443":            "10.1.0.1 10.2.0.2 6 40000 443",
		"udp [fd00::1]:53 > [fd00::2]:54":              "fd00::1 fd00::2 17 53 54",
		"icmp 10.1.0.1 > 10.2.0.2":                     "10.1.0.1 10.2.0.2 1 2048 2048",
		"icmp 10.1.0.1 > 10.2.0.2 3/4":                 "10.1.0.1 10.2.0.2 1 772 772",
		"icmpv6 fd00::1 > fd00::2":                     "fd00::1 fd00::2 58 32768 32768",
		"47 10.1.0.1 > 10.2.0.2":                       "10.1.0.1 10.2.0.2 47 0 0",
		"132 10.1.0.1:1 > 10.2.0.2:2":                  "10.1.0.1 10.2.0.2 132 1 2",
		"hex 450000140000000040fd00000a0100010a020002": "10.1.0.1 10.2.0.2 253 0 0",
	} {
		b, err := ParsePacket(text, 0, false)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		f, err := ipwire.ParseFlow(b)
		words := strings.Fields(want)
		if err != nil || f.Src.String() != words[0] || f.Dst.String() != words[1] || words[2] != fmt.Sprint(f.Proto) || words[3] != fmt.Sprint(f.SrcPort) || words[4] != fmt.Sprint(f.DstPort) {
			t.Errorf("%s: %+v, %v; want %s", text, f, err, want)
		}
	}
	b, err := ParsePacket("udp 10.1.0.1:1 > 10.2.0.2:2", 1500, true)
	if err != nil || len(b) != 1500 || !ipwire.IPv4(b).DontFragment() {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

func TestParsePacketSaysWhatIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		"":                                     "want",
		"tcp 10.1.0.1:1 10.2.0.2:2":            "want",
		"tpc 10.1.0.1:1 > 10.2.0.2:2":          `"tpc"`,
		"tcp 10.1.0.1 > 10.2.0.2:2":            "an address and a port",
		"tcp 10.1.0.1:1 > fd00::2:2":           "an address and a port",
		"tcp 10.1.0.1:1 > [fd00::2]:2":         "two families",
		"icmp 10.1.0.1 > ten":                  "not an address",
		"icmp 10.1.0.1 > 10.2.0.2 echo":        "8/0",
		"tcp 10.1.0.1:1 > 10.2.0.2:2 and more": "too much",
		"hex xyz":                              "not hexadecimal",
		"300 10.1.0.1 > 10.2.0.2":              "up to 255",
	} {
		if _, err := ParsePacket(text, 0, false); !errors.Is(err, ErrPacket) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if _, err := ParsePacket("icmp 10.1.0.1 > 10.2.0.2", 70000, false); !errors.Is(err, ErrPacket) {
		t.Errorf("70,000 bytes: %v", err)
	}
}
