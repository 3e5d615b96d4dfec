// Package ikewire is the codec of IKEv2 messages: RFC 7296 section 3, encrypted
// fragments (RFC 7383) and the payload data of the extensions that the IKE machine
// speaks. It does no cryptography and keeps no state.
//
//	 0               8              16    17    18    19   20       24      28
//	┌───────────────┬───────────────┬─────┬─────┬─────┬─────┬────────┬───────┐
//	│ initiator SPI │ responder SPI │ np  │ 2.0 │exch.│flags│ msg ID │ length│  IKE header
//	└───────────────┴───────────────┴─────┴─────┴─────┴─────┴────────┴───────┘
//	┌─────┬─┬───────────┬────────┬──────────────────┐
//	│ np  │C│ reserved  │ length │ body …           │  generic payload header, then
//	└─────┴─┴───────────┴────────┴──────────────────┘  the next payload's, until np is 0
//	┌─────┬─┬───────────┬────────┬────┬────────────────────────────────┬─────┐
//	│ np  │C│ reserved  │ length │ IV │ payloads, padding, pad length  │ ICV │  SK, always last
//	└─────┴─┴───────────┴────────┴────┴────────────────────────────────┴─────┘
//
// Parse takes a whole datagram (without RFC 3948's non-ESP marker). It checks every
// length against what is there, bounds every count before it allocates, and refuses
// bytes that belong to nothing. Reserved bits are ignored; everything that a future
// RFC may add (payloads, transforms, attributes, notifies, identity and selector
// types) is kept as it is, so that the machine can skip it as RFC 7296 says.
//
// Append is the inverse: it refuses what Parse would refuse, and writes reserved bits
// as zero.
//
// Parsed values share the memory of the datagram, which nobody may write while they
// are in use. Whatever AUTH needs is the peer's own bytes: Message.Raw, and Body of an
// IDi or IDr payload.
package ikewire
