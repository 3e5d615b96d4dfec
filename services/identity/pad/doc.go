// Package pad is the Peer Authorization Database of RFC 4301 section 4.4.3 for IKEv2: which identity a peer may
// have, how it must prove it, what traffic that authorises, and who we are to it.
//
//	            Claim                                   Verdict
//	peer's ID ──▶ select ──▶ the one entry ──▶ prove ──▶ authorised: entry, selectors, until when
//	                │            │                └────▶ refused: code, reason and remedy for the operator;
//	                │            │                       AUTHENTICATION_FAILED and no more for the peer
//	                │            PSK · pinned key · certificate · IPSECKEY · NULL
//	                host, most specific pattern, our own ID
//
// One entry is chosen by the identity before anything is proven, and only what that entry accepts counts: a
// peer that fails there is refused and never tried against a wider entry. Two entries that could both be the
// choice are an error of the configuration that names both.
//
// A signature is verified before a certificate's chain, the chain before its names, and those before anything
// is fetched: nobody but the holder of a key that a configured CA vouches for makes the controller fetch
// anything but IPSECKEY records, and those only of identities that an entry permits.
//
// # Certificates (RFC 4945)
//
// A chain ends at one of the authorities that the entry names. Every certificate in it is in time, has a key of
// at least 2048 (RSA) or 256 bits and no unknown critical extension; CAs have basicConstraints and, where
// keyUsage is there, keyCertSign; name constraints and path lengths hold. The leaf is no CA; its keyUsage, if
// there, has digitalSignature or nonRepudiation (section 5.1.3.2). Its extendedKeyUsage, if there, has ipsecIKE,
// anyExtendedKeyUsage, or iKEIntermediate as older IPsec CAs write (section 5.1.3.12); serverAuth and clientAuth
// count only where the entry says so, as for certificates of a CA for the web. The same holds for CAs between.
// SHA-1 and MD5 signatures are refused.
//
// The identity must be in the certificate: addresses as iPAddress, ID_FQDN as dNSName, ID_RFC822_ADDR as
// rfc822Name, ID_DER_ASN1_DN as subject. A star in a dNSName is no wildcard (section 3.1.2). ID_KEY_ID and
// ID_DER_ASN1_GN cannot be proven by a certificate.
//
// # Raw keys
//
// Keys that an entry pins (RFC 7670) are tried against the signature, whatever CERT payloads say. IPSECKEY (RFC
// 4025) records count when DNS says that they are secure, and their gateway is none, the owner of the record, or
// the address that the peer speaks from: a record that delegates to another gateway authenticates that one.
//
// # NULL authentication (RFC 7619)
//
// An entry accepts it alone, for ID_NULL. Whatever identity such a peer claims is ignored. Of the addresses that
// its entry authorises those are taken away that any other entry authorises.
package pad
