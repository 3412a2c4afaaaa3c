package sqlstore

import (
	"tillandsia/shared/entry"
	"tillandsia/syncserver/internal/store"
)

// The tables. A field added to a row of package store needs a column here, a
// line below its pointer, and a migration; storetest finds a forgotten one.

var points = makeTable("points_of_sale",
	`code | name settings users created`,
	func(r *store.PointOfSale, f []any) []any {
		return append(f, &r.Code, &r.Name, &r.Settings, &r.Users, &r.Created)
	})

var registers = makeTable("registers",
	`pos id | code name state drawer token_hash nonce generation generation_used created
	last_seen waiting waiting_amount screen program clock_skew connected recovered`,
	func(r *store.Register, f []any) []any {
		return append(f, &r.PointOfSale, &r.ID,
			&r.Code, &r.Name, (*string)(&r.State), &r.Drawer, &r.TokenHash, &r.Nonce, &r.Generation, &r.GenerationUsed, &r.Created,
			&r.LastSeen, &r.Waiting, (*int64)(&r.WaitingAmount), &r.Screen, &r.Program, &r.ClockSkew, &r.Connected, &r.Recovered)
	})

var epochs = makeTable("epochs",
	`pos register epoch | nonce
	base_epoch base_seq base_hash checkpoint_epoch checkpoint_seq checkpoint_hash
	cursor_epoch cursor_seq cursor_hash stable_epoch stable_seq stable_hash`,
	func(r *store.Epoch, f []any) []any {
		f = append(f, &r.PointOfSale, &r.Register, &r.Epoch, &r.Nonce)
		for _, p := range []*entry.Point{&r.Base, &r.Checkpoint, &r.Cursor, &r.Stable} {
			f = append(f, &p.Epoch, &p.Seq, &p.Hash)
		}
		return f
	})

var journal = makeTable("journal",
	`pos register epoch seq | op kind hash content raw at received stamped booked outcome wrapped`,
	func(r *store.JournalRow, f []any) []any {
		return append(f, &r.PointOfSale, &r.Register, &r.Epoch, &r.Seq,
			&r.Op, (*string)(&r.Kind), &r.Hash, &r.Content, &r.Raw, &r.At, &r.Received, &r.Stamped, &r.Booked,
			(*int16)(&r.Outcome), &r.Wrapped)
	})

var sessions = makeTable("sessions",
	`pos id | name register state root ordinal business_date opened_by opened_by_name opened_at
	recovered open_heard counted_epoch counted_seq close_out close_out_approved max_difference cash_control
	orders total last_at
	closed_by closed_by_name closed_at close_reason close_kind counted is_empty posting digest refilling`,
	func(r *store.Session, f []any) []any {
		return append(f, &r.PointOfSale, &r.ID,
			&r.Name, &r.Register, (*string)(&r.State), &r.Root, &r.Ordinal, &r.BusinessDate, &r.OpenedBy, &r.OpenedByName, &r.OpenedAt,
			&r.Recovered, &r.OpenHeard, &r.CountedAt.Epoch, &r.CountedAt.Seq, &r.CloseOut, &r.CloseOutApproved,
			(*int64)(&r.MaxDifference), &r.CashControl,
			&r.Orders, (*int64)(&r.Total), &r.Last,
			&r.ClosedBy, &r.ClosedByName, &r.ClosedAt, &r.CloseReason, &r.CloseKind, &r.Counted, &r.Empty, &r.Posting, &r.Digest, &r.Refilling)
	})

var stays = makeTable("stays",
	`pos session register at_epoch at_seq | joined user_id user_name drawer control cash_method float_amount begun has_left left_at approved z`,
	func(r *store.Stay, f []any) []any {
		return append(f, &r.PointOfSale, &r.Session, &r.Register, &r.At.Epoch, &r.At.Seq,
			&r.Joined, &r.User, &r.UserName, &r.Drawer, &r.Control, &r.CashMethod, (*int64)(&r.Float), &r.Begun, &r.Left, &r.LeftAt,
			&r.Approved, &r.Z)
	})

var sums = makeTable("sums",
	`pos session register kind account detail | amount count`,
	func(r *store.Sum, f []any) []any {
		return append(f, &r.PointOfSale, &r.Session, &r.Register, &r.Kind, &r.Account, &r.Detail, (*int64)(&r.Amount), &r.Count)
	})

var orders = makeTable("orders",
	`pos id copy | register entry_epoch entry_seq number stamped session user_id user_name customer at received
	lines net tax total paid change_given rounding catalogue late`,
	func(r *store.Order, f []any) []any {
		return append(f, &r.PointOfSale, &r.ID, &r.Copy,
			&r.Register, &r.Entry.Epoch, &r.Entry.Seq, &r.Number, &r.Stamped, &r.Session, &r.User, &r.UserName, &r.Customer, &r.At, &r.Received,
			&r.Lines, (*int64)(&r.Net), (*int64)(&r.Tax), (*int64)(&r.Total), (*int64)(&r.Paid), (*int64)(&r.Change), (*int64)(&r.Rounding),
			&r.Catalogue, &r.Late)
	})

var orderLines = makeTable("order_lines",
	`pos order_id copy no | id product name category qty price net tax total account taxes refund_order refund_line`,
	func(r *store.OrderLine, f []any) []any {
		return append(f, &r.PointOfSale, &r.Order, &r.Copy, &r.No,
			&r.ID, &r.Product, &r.Name, &r.Category, (*int64)(&r.Qty), (*int64)(&r.Price), (*int64)(&r.Net), (*int64)(&r.Tax), (*int64)(&r.Total),
			&r.Account, &r.Taxes, &r.RefundOrder, &r.RefundLine)
	})

var payments = makeTable("payments",
	`pos order_id copy no | session register method kind account amount reference`,
	func(r *store.Payment, f []any) []any {
		return append(f, &r.PointOfSale, &r.Order, &r.Copy, &r.No,
			&r.Session, &r.Register, &r.Method, &r.Kind, &r.Account, (*int64)(&r.Amount), &r.Reference)
	})

var moves = makeTable("moves",
	`pos id | register entry_epoch entry_seq stamped session method cash_account account reason amount user_id note at close_drop between_sessions`,
	func(r *store.Move, f []any) []any {
		return append(f, &r.PointOfSale, &r.ID,
			&r.Register, &r.Entry.Epoch, &r.Entry.Seq, &r.Stamped, &r.Session, &r.Method, &r.CashAccount, &r.Account, &r.Reason,
			(*int64)(&r.Amount), &r.User, &r.Note, &r.At, &r.CloseDrop, &r.Between)
	})

var history = makeTable("history",
	`pos session register entry_epoch entry_seq no kind | user_id user_name at detail`,
	func(r *store.HistoryRow, f []any) []any {
		return append(f, &r.PointOfSale, &r.Session, &r.Register, &r.Entry.Epoch, &r.Entry.Seq, &r.No, &r.Kind,
			&r.User, &r.UserName, &r.At, &r.Detail)
	})

var counts = makeTable("counts",
	`pos session register method entry_epoch entry_seq at attempt | amount late counted_by`,
	func(r *store.CountRow, f []any) []any {
		return append(f, &r.PointOfSale, &r.Session, &r.Register, &r.Method, &r.Entry.Epoch, &r.Entry.Seq, &r.At, &r.Attempt,
			(*int64)(&r.Amount), &r.Late, &r.By)
	})

var zReports = makeTable("z_reports",
	`pos register series number entry_epoch entry_seq | session body finding`,
	func(r *store.ZRow, f []any) []any {
		return append(f, &r.PointOfSale, &r.Register, &r.Series, &r.Number, &r.Entry.Epoch, &r.Entry.Seq, &r.Session, &r.Body, &r.Finding)
	})

var postings = makeTable("postings",
	`pos session | number year tag ordinal day label at hash`,
	func(r *store.Posting, f []any) []any {
		return append(f, &r.PointOfSale, &r.Session, &r.Number, &r.Year, &r.Tag, &r.Ordinal, &r.Date, &r.Text, &r.At, &r.Hash)
	})

// postingLine is a line with the key of its posting.
type postingLine struct {
	PointOfSale string
	Session     string
	store.PostingLine
}

var postingLines = makeTable("posting_lines",
	`pos session no | account debit credit label register method customer detail`,
	func(r *postingLine, f []any) []any {
		return append(f, &r.PointOfSale, &r.Session, &r.No,
			&r.Account, (*int64)(&r.Debit), (*int64)(&r.Credit), &r.Label, &r.Register, &r.Method, &r.Customer, &r.Detail)
	})

var closes = makeTable("closes",
	`pos session | root ordinal at body`,
	func(r *store.Close, f []any) []any {
		return append(f, &r.PointOfSale, &r.Session, &r.Root, &r.Ordinal, &r.At, &r.Body)
	})

var heard = makeTable("heard_closes",
	`pos register session |`,
	func(r *store.HeardClose, f []any) []any {
		return append(f, &r.PointOfSale, &r.Register, &r.Session)
	})

var flags = makeTable("flags",
	`pos id | code register entry_epoch entry_seq session params at resolved resolved_by how`,
	func(r *store.Flag, f []any) []any {
		return append(f, &r.PointOfSale, &r.ID, &r.Code, &r.Register, &r.Entry.Epoch, &r.Entry.Seq, &r.Session, &r.Params, &r.At,
			&r.Resolved, &r.ResolvedBy, &r.How)
	})

var things = makeTable("things",
	`pos kind id | revision deleted body changed`,
	func(r *store.Thing, f []any) []any {
		return append(f, &r.PointOfSale, &r.Kind, &r.ID, &r.Revision, &r.Deleted, &r.Body, &r.Changed)
	})

var users = makeTable("users",
	`id | login name role pin password active points created`,
	func(r *store.User, f []any) []any {
		return append(f, &r.ID, &r.Login, &r.Name, &r.Role, &r.PIN, &r.Password, &r.Active, &r.Points, &r.Created)
	})

var tokens = makeTable("tokens",
	`hash | user_id name created expires`,
	func(r *store.Token, f []any) []any {
		return append(f, &r.Hash, &r.User, &r.Name, &r.Created, &r.Expires)
	})

var pairings = makeTable("pairings",
	`code_hash | pos register expires used tries`,
	func(r *store.Pairing, f []any) []any {
		return append(f, &r.CodeHash, &r.PointOfSale, &r.Register, &r.Expires, &r.Used, &r.Tries)
	})

var outbox = makeTable("outbox",
	`pos id | kind ref revision at`,
	func(r *store.OutboxRow, f []any) []any {
		return append(f, &r.PointOfSale, &r.ID, &r.Kind, &r.Ref, &r.Revision, &r.At)
	})

var audit = makeTable("audit",
	`id | at user_id remote action target before_json after_json`,
	func(r *store.AuditRow, f []any) []any {
		return append(f, &r.ID, &r.At, &r.User, &r.Remote, &r.Action, &r.Target, &r.Before, &r.After)
	})

// metaRow is a key of the meta table.
type metaRow struct {
	Key   string
	Value []byte
}

var meta = makeTable("meta",
	`name | value`,
	func(r *metaRow, f []any) []any { return append(f, &r.Key, &r.Value) })

// Rows that are parts of tables.

func bookedFields(r *store.BookedRow) []any {
	return []any{&r.PointOfSale, &r.Register, &r.Epoch, &r.Seq, &r.Op, &r.Hash, &r.Content}
}

func knownFields(r *store.KnownOp) []any {
	return []any{&r.PointOfSale, &r.Register, &r.Epoch, &r.Seq, &r.Op, &r.Content, (*int16)(&r.Outcome), &r.Booked}
}
