// Package operator is what people and programs talk to: ResourceService and AdminService of
// api/sallyport/operator/v1.
//
//	Create, Update, Delete, Apply ─▶ check (spec) ─▶ draft ─▶ one transaction that compares
//	                                                          all that it was decided from
//	Get, List, Watch ◀─ snapshots of store.View, counts of world.Feed
//
// Everything that depends on all hosts at once, which is who has which address and which subnet, hangs on
// one key: ipam. Whoever creates or deletes a host or changes subnets compares and bumps it, so that two
// controllers can never hand out one address or accept two subnets that overlap.
package operator
