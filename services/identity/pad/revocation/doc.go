// Package revocation says whether certificates of a verified chain have been revoked.
//
//	in band      OCSP (RFC 4806) and CRLs that the peer sent in CERT payloads
//	configured   CRLs that the operator gave
//	remembered   what was fetched before
//	fetched      OCSP from the certificate's AIA, then CRLs from its distribution points
//
// All that is at hand is read first, and one valid word of "revoked" refuses, whoever else says "good", and
// even when its CRL is out of date. Then the first "good" is enough; only without one is anything fetched.
// What is out of date, signed by another key, or made for other certificates says nothing.
//
// When nothing says anything, Strict refuses, and IfAvailable, the default, accepts with a note: an attacker
// who can keep the controller from its OCSP responder and its CRLs can then use a revoked certificate.
//
// Only certificates of a chain that ends at a CA of the operator reach this package, so only that CA and
// those it trusts choose what is fetched (CVE-2022-40617 is the opposite). See HTTP for what is fetched from
// where.
package revocation
