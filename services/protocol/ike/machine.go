package ike

// Machine is one association. See the package's comment for the caller's contract.
type Machine struct {
	cfg Config
	state
	step step
}
