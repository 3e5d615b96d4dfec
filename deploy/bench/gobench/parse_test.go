package gobench

import (
	"maps"
	"testing"
)

func TestParse(t *testing.T) {
	r, err := parse(`goos: linux
pkg: sallyport.dev/sallyport/agent/datapath
BenchmarkPipeline64
BenchmarkPipeline64 	 1000000	       201.5 ns/op	       0 B/op	       0 allocs/op
BenchmarkMemory     	       1	  99 ns/op	  1500 B/SA
PASS
`)
	if err != nil {
		t.Fatal(err)
	}
	want := Round{
		"Pipeline64": {"ns/op": 201.5, "B/op": 0, "allocs/op": 0},
		"Memory":     {"ns/op": 99, "B/SA": 1500},
	}
	if !maps.EqualFunc(r, want, maps.Equal) {
		t.Errorf("%v, want %v", r, want)
	}
	if v, err := r.Of("Memory", "B/SA"); v != 1500 || err != nil {
		t.Errorf("%v, %v", v, err)
	}
	for _, absent := range [][2]string{{"Pipeline64", "B/SA"}, {"Pipeline1400", "ns/op"}} {
		if v, err := r.Of(absent[0], absent[1]); err == nil {
			t.Errorf("%v: %v", absent, v)
		}
	}
	if r, err := parse("BenchmarkX 1 nothing ns/op\n"); err == nil {
		t.Errorf("of no number: %v", r)
	}
}
