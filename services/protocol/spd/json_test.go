package spd

import (
	"encoding/json"
	"testing"
)

func TestJSON(t *testing.T) {
	type line struct {
		Action Action
		Local  []Selector
	}
	for _, text := range []string{`{"Action":"PROTECT","Local":["10.1.0.0/16 tcp/80-90","::/0","192.0.2.1-192.0.2.9 icmp/8"]}`, `{"Action":"DISCARD","Local":null}`, `{"Action":"BYPASS","Local":[]}`} {
		var l line
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatal(err)
		}
		again, err := json.Marshal(l)
		if err != nil || string(again) != text {
			t.Errorf("%s became %s, %v", text, again, err)
		}
	}
	var l line
	for _, bad := range []string{`{"Action":"protect"}`, `{"Local":["10.0.0.0/8; flush ruleset"]}`, `{"Local":[""]}`} {
		if json.Unmarshal([]byte(bad), &l) == nil {
			t.Errorf("%s was taken", bad)
		}
	}
	if _, err := json.Marshal(Selector{}); err == nil {
		t.Error("an empty selector was written")
	}
}
