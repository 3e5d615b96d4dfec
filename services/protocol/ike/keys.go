package ike

// suiteID names the transforms of an IKE SA by IANA's numbers.
type suiteID struct {
	Encryption EncryptionID
	Integrity  uint16
	PRF        uint16
	KE         uint16
	Additional []uint16 // RFC 9370, in the order of ADDKE1 to ADDKE7, without NONE
}

// ikeKeys are those of RFC 7296 section 2.14.
type ikeKeys struct {
	D, Ai, Ar, Ei, Er, Pi, Pr key
}

// protection seals and opens the messages of one IKE SA.
type protection struct{}
