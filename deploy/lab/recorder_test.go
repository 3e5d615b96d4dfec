//go:build linux

package lab

import "testing"

func TestRecordedAll(t *testing.T) {
	for said, want := range map[string]bool{
		"7 packets captured\n8 packets received by filter\n0 packets dropped by kernel\n":                       true,
		"7 packets captured\n8 packets received by filter\n10 packets dropped by kernel\n":                      false,
		"Packets received/dropped on interface 'br0': 3/0 (pcap:0/dumpcap:0/flushed:0/ps_ifdrop:0) (100.0%)\n":  true,
		"Packets received/dropped on interface 'br0': 3/20 (pcap:20/dumpcap:0/flushed:0/ps_ifdrop:0) (13.0%)\n": false,
		"": false,
	} {
		if recordedAll(said) != want {
			t.Errorf("%q: %v", said, !want)
		}
	}
}
