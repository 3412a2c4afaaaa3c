// Package journal is a till's truth: an append-only, hash-chained log of
// entries in one bbolt file, with the projections that the till reads beside
// them in the same transaction.
//
// # Files
//
//	<dir>/journal.db        entries, projections, carts, what is known of the server
//	<instance>/nonce        who writes this journal; also in the journal
//	<instance>/mark         the high-water mark: epoch, sequence, hash
//
// The instance folder (by default <dir>/instance) is left out of every
// backup: it is how a copy is noticed without the server. Nothing in it is
// needed to read the journal.
//
// # Buckets of journal.db
//
//	file       format version, identity of the register
//	entries    epoch, sequence (8 + 8 bytes, big endian)  → the entry's bytes, as made
//	epochs     epoch (8)                                  → epochRecord: nonce, base, checkpoint
//	base       the projections as they stood at the checkpoints (nested buckets)
//	branch     kept for the divergent branch of a fork; empty in this version
//	carts      id                                         → Cart; outside the chain
//	sync       acked, generation, incarnation, stable, pending nonce
//	ops        operation id                               → place of the entry      (projection)
//	orders     row by place, places by number             → OrderRow                (projection)
//	refunds    order id                                   → refunded so far by line (projection)
//	closes     session id → place, place → session id                               (projection)
//	sessions   session id                                 → Session                 (projection)
//	state      current session, drawers, series, PIN tries, settings, training      (projection)
//
// The head of an epoch is its last entry and is stored nowhere else. What is
// marked as a projection is made by one function, apply, whether an entry is
// appended, rebuilt or verified.
//
// # What a crash leaves
//
// bbolt writes the pages of a commit, syncs, writes the meta page, syncs. A
// crash before the meta page is on the disk leaves the journal as it was
// before the commit; after it, as it is after the commit. There is no state
// between: entry, projections, numbers taken and the deleted cart are one
// transaction. [Journal.Append] returns after the second sync only.
//
//  1. Crash while the file is made: the temporary name is left; it is removed
//     when the journal is made again.
//  2. Crash between a commit and the mark: the mark is below the head, as it
//     may be at any time.
//  3. Crash after a copy was found and its new nonce journalled, before the
//     nonce file is written: the copy is found again and begins a new series
//     again; nothing was sold under the first.
//
// # What is assumed of the disk
//
// That a returned fdatasync is durable, and that a sector is written whole or
// not at all. A disk that only claims to sync loses acknowledged entries; the
// mark and the server notice.
package journal
