package link

import (
	"context"

	"tillandsia/shared/wire"
	"tillandsia/syncserver/internal/store"
)

// Ledger is what the link calls of the server's application. Its methods may
// be called at the same time, for one register one after the other on each of
// its connections. A ctx that ends means that the connection is gone: what was
// begun may still be committed, nobody hears of it.
type Ledger interface {
	// Authenticate returns the register of a device token; an error of class
	// [message.Unauthorized] where there is none.
	Authenticate(ctx context.Context, token string) (store.Register, error)
	// Hello stores a hello and answers it: it locks the register's row and
	// takes the next generation, so that batches of older connections, to
	// whatever server, are refused from then on.
	Hello(ctx context.Context, register store.Register, h *wire.Hello) (wire.Welcome, error)
	// Apply takes entries in; on return with nil they are durable, up to the
	// acknowledged cursor. Entries that are there already change nothing. A
	// batch that fails three times in a row is taken entry by entry.
	Apply(ctx context.Context, register store.Register, generation, epoch, first uint64, raw [][]byte) (wire.Ack, error)
	// Closes takes closes back. It is called before the entries of the same
	// connection, more than once where there are many; a close that is known
	// changes nothing.
	Closes(ctx context.Context, register store.Register, c *wire.Closes) error
	// Sessions returns what the register has to be told: the sessions in
	// progress at its point of sale, and the closes that it has not
	// journalled yet.
	Sessions(ctx context.Context, register store.Register) ([]wire.SessionTold, error)
	// Catalogue returns the page after a revision, of a snapshot where the
	// handle or the revision is not the server's. The page may be of any size:
	// it is sent in parts.
	Catalogue(ctx context.Context, pointOfSale, handle string, from uint64) (wire.Catalogue, error)
	Points(ctx context.Context, register store.Register, p *wire.Probe) (wire.Points, error)
	Fetch(ctx context.Context, register store.Register, f *wire.Fetch) ([][]byte, error)
	// Renew grants a new epoch; its row is committed on return.
	Renew(ctx context.Context, register store.Register, r *wire.Renew) (wire.Epoch, error)
	Find(ctx context.Context, register store.Register, f *wire.Find) (wire.Found, error)
	// Changes returns what changed since a mark, and the next mark: the codes
	// of points of sale whose sessions changed, and the catalogue's revision.
	// Mark 0 asks for the present mark; no points are returned for it.
	Changes(ctx context.Context, since uint64) (points []string, revision, mark uint64, err error)
	// Code returns the error code of an error of the calls above; ok is false
	// where nothing may be said, because the outcome is unknown. The register
	// is told the code, but for [wire.CodeUnavailable]: nothing was stored,
	// and it is asked to come back in a moment.
	//
	//	another generation, a newer connection   replaced
	//	does not continue the cursor, malformed  chain
	//	differs from what is stored              fork
	//	no such register                         unknown_register
	//	a question that is not allowed           protocol
	//	rolled back for any other reason         unavailable
	//	unknown outcome of a commit              ok = false
	Code(err error) (code wire.Code, ok bool)
}
