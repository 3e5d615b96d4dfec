// Package lint holds the tests that keep the structure of the code: which package may import which,
// what the pure core may not do, and which folders the top level has. `make lint` runs them.
package lint
