package caller_test

import (
	"net/netip"
	"testing"

	"sallyport.dev/sallyport/services/caller"
)

func TestContext(t *testing.T) {
	if _, ok := caller.FromContext(t.Context()); ok {
		t.Error("an empty context has a caller")
	}
	want := caller.Caller{Role: caller.RoleAgent, Name: "web-1", RemoteAddr: netip.MustParseAddrPort("192.0.2.1:4711")}
	got, ok := caller.FromContext(caller.NewContext(t.Context(), want))
	if !ok || got != want {
		t.Errorf("got %v, %v", got, ok)
	}
	if got := want.LogValue().String(); got != "[role=agent name=web-1 remote=192.0.2.1:4711]" {
		t.Errorf("LogValue = %s", got)
	}
}
