// Package ipseckey finds a peer's public key in DNS (RFC 4025).
//
//	ID_FQDN gw.example        gw.example.              IPSECKEY
//	ID_IPV4_ADDR 192.0.2.1    1.2.0.192.in-addr.arpa.  IPSECKEY
//	ID_IPV6_ADDR 2001:db8::1  1.0.0.….ip6.arpa.        IPSECKEY
//
// An answer counts only when all of it is secure. The package does not validate DNSSEC: it asks a resolver
// that does, and believes its AD bit (RFC 4035 section 3.2.3) because the path to it is trusted: loopback,
// or an address that the operator names as trusted. The query has AD set and CD clear, so that a bogus
// answer is SERVFAIL. Aliases (CNAME) are followed inside the one answer, which the AD bit covers whole.
//
// What a record says is bounded before memory is taken for it, and names of a domain never steer where
// questions go: one server, one question.
package ipseckey
