// Package world keeps the pure planner's picture of the fleet, plan.World, current with the store. It is
// where records become plan.Host, plan.Policy and plan.Generation, once for all who plan, deliver and
// report.
//
//	store.View ──batches──▶ Feed ──applies──▶ plan.World + Snapshot of the same revision
//	                          │                     ▲
//	                          └──touched pairs──▶ Subscription … then Read
//
// Generations are not copied: State.Generations reads them out of the snapshot when they are asked for.
// A record that cannot be read is logged once per change; what was known before stays.
package world
