package manifest

import "testing"

func TestLocate(t *testing.T) {
	docs, _, err := Parse("f", []byte(fleet))
	if err != nil {
		t.Fatal(err)
	}
	host, policy := docs[0], docs[1]
	for _, tc := range []struct {
		doc              *Document
		path, want, name string
	}{
		{host, "metadata.name", "f:4:9", "metadata.name"},
		{host, "spec.subnets[1]", "f:9:5", "spec.subnets[1]"},
		{host, "resources[0].host.spec.subnets[1]", "f:9:5", "spec.subnets[1]"},
		{host, "resources[0].spec.subnets[1]", "f:9:5", "spec.subnets[1]"},
		{host, "resource.host.spec.subnets", "f:7:3", "spec.subnets"},
		{host, "spec.subnets[7]", "f:7:3", "spec.subnets[7]"},
		{host, "spec.endpoints[0]", "f:6:1", "spec.endpoints[0]"},
		{host, `metadata.labels["a/b"]`, "f:5:23", "metadata.labels.a/b"},
		{host, "metadata.labels.role", "f:5:12", "metadata.labels.role"},
		{host, `metadata.labels["none"]`, "f:5:3", `metadata.labels["none"]`},
		{host, "", "f:2:1", ""},
		{host, "nowhere", "f:2:1", "nowhere"},
		{policy, "spec.lifetime.rekey_time", "f:18:16", "spec.lifetime.rekeyTime"},
		{policy, "spec.lifetime.hardTime", "f:19:16", "spec.lifetime.hard_time"},
		{policy, "spec.proposal", "f:14:1", "spec.proposal"},
		{policy, "resources[1].policy", "f:12:1", ""},
	} {
		at, name := tc.doc.Locate(tc.path)
		if at.String() != tc.want || name != tc.name {
			t.Errorf("Locate(%s) = %s %s, want %s %s", tc.path, at, name, tc.want, tc.name)
		}
	}
}

func TestRequestIndex(t *testing.T) {
	for path, want := range map[string]int{
		"resources[0].host": 0, "resources[41]": 41, "resources[-1]": -1, "resources[x]": -1, "resources[": -1,
		"spec.subnets[1]": -1, "": -1, "resources[99999999999999999999]": -1,
	} {
		got, ok := RequestIndex(path)
		if !ok {
			got = -1
		}
		if got != want {
			t.Errorf("RequestIndex(%q) = %d, want %d", path, got, want)
		}
	}
}
