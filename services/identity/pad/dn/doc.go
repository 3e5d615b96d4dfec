// Package dn reads X.500 distinguished names, from DER and from RFC 4514's text, and compares them.
//
//	Name  = SEQUENCE OF RDN         most significant first, as in DER
//	RDN   = SET OF attribute        nearly always one
//	text  = RDN *( "," RDN )        most significant last: RFC 4514 section 2.1 turns the order round
//
// Two names are equal when they have the same RDNs in the same order, each with the same attribute
// types and values. A value is compared as the text that it means: "gw" is the same as PrintableString
// and as UTF8String. Case and spaces count, though RFC 5280 section 7.1 folds them: a CA that issues
// "CN=Admin" to one and "CN=admin" to another means two. Nothing else is equal to anything: no RDN is
// left out, moved or cut short.
//
// A Pattern is a name whose values may be "*", which stands for one value of that attribute type and
// never for an absent RDN. In text a literal star is written `\2A`.
package dn
