// Package store is Sallyport's use of etcd: typed keys, sealed values, fenced
// transactions, and one consistent view per process.
//
//	            Commit(Txn{Compares, Puts, Deletes})      fenced, bounded
//	service ───────────────────────────────────────────▶ etcd
//	   ▲                                                   │ one watch over
//	   │ Get, Range, Snapshot                              │ the whole prefix
//	   ├──────────────── View ◀────────────────────────────┘
//	   │ Next: net changes, coalesced
//	   └──────────────── Subscription
//
// The same client path serves the embedded member (StartEmbedded) and an
// external cluster. Keys are always relative to Config.Prefix and are built by
// the functions of keys.go, which refuse a name that could leave its place.
//
// Values with key material are sealed (Keyring) before they come here. Every
// write of a process that has called Begin is fenced by the store's
// incarnation: after a restore, the processes of the old one cannot write.
//
// A backup holds sealed values as they are and is of no use without the root key
// file, which must be kept apart from it. The traffic key directory must never
// be backed up. The audit file must outlive the database: a restore reads from
// it what was revoked since the backup.
package store
