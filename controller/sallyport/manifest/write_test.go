package manifest

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
)

func hostOf(name string, labels map[string]string, subnets ...string) *operatorv1.Resource {
	return &operatorv1.Resource{Kind: &operatorv1.Resource_Host{Host: &operatorv1.Host{
		Metadata: &operatorv1.Metadata{Name: name, Labels: labels},
		Spec:     &operatorv1.HostSpec{Subnets: subnets},
	}}}
}

func TestAppend(t *testing.T) {
	r := hostOf("web-1", map[string]string{"role": "web", "n": "1", "t": "true", "e": ""}, "10.0.0.0/8", "fd00::/64")
	md := r.GetHost().GetMetadata()
	md.Revision, md.Uid, md.CreateTime = 7, "0011223344556677", timestamppb.New(time.Unix(1700000000, 500))
	r.GetHost().Status = &operatorv1.HostStatus{Addresses: []string{"100.64.0.1"}, Connected: true, Conditions: []*operatorv1.Condition{
		{Type: "DuplicateIdentity", Message: "two: \"x\"\n"}, {},
	}}
	want := `kind: Host
metadata:
  name: web-1
  labels:
    e: ""
    "n": "1"
    role: web
    t: "true"
  revision: 7
  uid: "0011223344556677"
  createTime: "2023-11-14T22:13:20.0000005Z"
spec:
  subnets:
  - 10.0.0.0/8
  - "fd00::/64"
status:
  addresses:
  - 100.64.0.1
  connected: true
  conditions:
  - type: DuplicateIdentity
    message: "two: \"x\"\n"
  - {}
`
	if got := string(Append(nil, r)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	wantIntent := `kind: Host
metadata:
  name: web-1
  labels:
    e: ""
    "n": "1"
    role: web
    t: "true"
spec:
  subnets:
  - 10.0.0.0/8
  - "fd00::/64"
`
	if got := string(AppendIntent(nil, r)); got != wantIntent {
		t.Errorf("intent\n%s\nwant\n%s", got, wantIntent)
	}
}

func TestAppendEmpty(t *testing.T) {
	if got := string(Append(nil, &operatorv1.Resource{})); got != "{}\n" {
		t.Errorf("got %q", got)
	}
	policy := &operatorv1.Policy{Spec: &operatorv1.PolicySpec{Hosts: "role=web", To: "a,b"}}
	want := "kind: Policy\nspec:\n  hosts: role=web\n  to: \"a,b\"\n"
	if got := string(Append(nil, &operatorv1.Resource{Kind: &operatorv1.Resource_Policy{Policy: policy}})); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := string(Append(nil, hostOf("", nil))); got != "kind: Host\nmetadata: {}\nspec: {}\n" {
		t.Errorf("got %q", got)
	}
}

func TestFormatDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		time.Hour: "1h", 90 * time.Minute: "1h30m", 90 * time.Second: "1m30s", 0: "0s", 10 * time.Second: "10s",
		time.Hour + time.Second: "1h0m1s", 100 * time.Hour: "100h", 10 * time.Minute: "10m", 1500 * time.Millisecond: "1.5s",
	} {
		if got := FormatDuration(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

// FuzzWrite: what is written is read back the same, whatever the strings hold.
func FuzzWrite(f *testing.F) {
	f.Add("web-1", "role", "web", "10.0.0.0/8", int64(time.Hour), int32(3), uint64(9))
	f.Add("1", "yes", "~", "a: b # c", int64(-1), int32(-3), uint64(1<<63))
	f.Add("- x", "? k", "|\n  x\n---\n...", "\x7f\u0085\u2028\ufeff", int64(1), int32(0), uint64(0))
	f.Add("é\t\"'\\", "<<", "*a", "&a !!str", int64(1), int32(0), uint64(0))
	f.Add("a", strings.Repeat("k", 3000), strings.Repeat("v ", 2000), "::/0", int64(1), int32(0), uint64(0))
	f.Fuzz(func(t *testing.T, name, key, value, hosts string, rekey int64, priority int32, bytes uint64) {
		want := &operatorv1.Policy{
			Metadata: &operatorv1.Metadata{Name: name, Labels: map[string]string{key: value}},
			Spec: &operatorv1.PolicySpec{Hosts: hosts, Priority: priority, Lifetime: &operatorv1.PolicyLifetime{
				RekeyTime: durationpb.New(time.Duration(rekey)), RekeyBytes: bytes,
			}},
		}
		r := &operatorv1.Resource{Kind: &operatorv1.Resource_Policy{Policy: want}}
		if _, err := proto.Marshal(r); err != nil || name == "" {
			t.Skip("not a resource that the API could send")
		}
		text := Append(nil, r)
		docs, _, err := Parse("f", text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if len(docs) != 1 || !proto.Equal(docs[0].Resource, r) {
			t.Fatalf("got  %v\nwant %v\n%s", docs[0].Resource, r, text)
		}
	})
}
