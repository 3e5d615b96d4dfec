package main

import (
	"os/exec"
	"strings"
	"testing"
)

// TestDependencies: the command line is small enough to hand to everybody: it links no etcd.
func TestDependencies(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	packages := strings.Fields(string(out))
	dials := false
	for _, pkg := range packages {
		dials = dials || pkg == "sallyport.dev/sallyport/services/dial"
		if strings.HasPrefix(pkg, "go.etcd.io/") || pkg == "sallyport.dev/sallyport/services/store" {
			t.Errorf("links %s", pkg)
		}
	}
	if !dials {
		t.Errorf("%d packages without services/dial: does this test look at the right thing?", len(packages))
	}
}
