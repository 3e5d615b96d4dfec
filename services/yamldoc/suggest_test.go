package yamldoc

import "testing"

func TestSuggest(t *testing.T) {
	names := []string{"subnets", "endpoints", "hosts", "to"}
	for word, want := range map[string]string{
		"subnet": "subnets", "subents": "subnets", "Subnets": "subnets", "endpoint": "endpoints", "host": "hosts",
		"ot": "to", "zzz": "", "": "", "completelydifferent": "",
	} {
		got := Suggest(word, names)
		if want != "" {
			want = `: did you mean "` + want + `"?`
		}
		if got != want {
			t.Errorf("Suggest(%q) = %q, want %q", word, got, want)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"abc", "abc", 0}, {"abc", "", 3}, {"abc", "acb", 1}, {"kitten", "sitting", 3}} {
		if got := distance(tc.a, tc.b); got != tc.want {
			t.Errorf("distance(%q, %q) = %d, want %d", tc.a, tc.b, got, tc.want)
		}
	}
}
