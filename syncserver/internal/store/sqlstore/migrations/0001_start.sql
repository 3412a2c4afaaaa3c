-- The tables of Tillandsia's server, for both dialects.
--
-- Migrations are append-only: a file that was released is never changed. A
-- line that begins with "--sqlite " or "--postgres " is a statement's line for
-- that dialect alone. TEXT /*C*/ sorts by bytes on both.
--
-- Times are microseconds since 1970 UTC, 0 is never. Amounts are minor units
-- of the company's currency, quantities thousandths, unit prices
-- ten-thousandths of a major unit. Hashes are SHA-256, 32 bytes. JSON stands in
-- BYTEA, lists of ids as a JSON array in TEXT. A text that is not there is ''.
--
-- Keys of all tables of sales begin with the point of sale, and their ids are
-- made by registers: no foreign keys, serials or triggers on the hot path.

-- A point of sale. settings: catalogue.Settings as JSON; users: ids of those
-- who may sell there.
CREATE TABLE points_of_sale (
    code     TEXT /*C*/ NOT NULL,
    name     TEXT NOT NULL,
    settings BYTEA NOT NULL,
    users    TEXT NOT NULL,
    created  BIGINT NOT NULL,
    PRIMARY KEY (code)
);

-- A register, and what it told last. Its row is locked by whatever a batch, a
-- hello or an enrolment does. clock_skew: microseconds, ahead of ours > 0.
CREATE TABLE registers (
    pos             TEXT /*C*/ NOT NULL,
    id              TEXT /*C*/ NOT NULL,
    code            TEXT /*C*/ NOT NULL,
    name            TEXT NOT NULL,
    state           TEXT NOT NULL,
    drawer          BOOLEAN NOT NULL,
    token_hash      BYTEA NOT NULL,
    nonce           TEXT NOT NULL,
    generation      BIGINT NOT NULL,
    generation_used BIGINT NOT NULL,
    created         BIGINT NOT NULL,
    last_seen       BIGINT NOT NULL,
    waiting         BIGINT NOT NULL,
    waiting_amount  BIGINT NOT NULL,
    screen          TEXT NOT NULL,
    program         TEXT NOT NULL,
    clock_skew      BIGINT NOT NULL,
    connected       TEXT NOT NULL,
    recovered       BOOLEAN NOT NULL,
    PRIMARY KEY (pos, id)
)
--postgres WITH (fillfactor = 50)
;
CREATE UNIQUE INDEX registers_token ON registers (token_hash) WHERE length(token_hash) > 0;

-- An epoch of a register's journal: one writer, one nonce. Points are (epoch,
-- sequence, hash): what it stands on, what was pruned below, how far we hold
-- it, how far a verified copy holds it.
CREATE TABLE epochs (
    pos              TEXT /*C*/ NOT NULL,
    register         TEXT /*C*/ NOT NULL,
    epoch            BIGINT NOT NULL,
    nonce            TEXT NOT NULL,
    base_epoch       BIGINT NOT NULL,
    base_seq         BIGINT NOT NULL,
    base_hash        BYTEA NOT NULL,
    checkpoint_epoch BIGINT NOT NULL,
    checkpoint_seq   BIGINT NOT NULL,
    checkpoint_hash  BYTEA NOT NULL,
    cursor_epoch     BIGINT NOT NULL,
    cursor_seq       BIGINT NOT NULL,
    cursor_hash      BYTEA NOT NULL,
    stable_epoch     BIGINT NOT NULL,
    stable_seq       BIGINT NOT NULL,
    stable_hash      BYTEA NOT NULL,
    PRIMARY KEY (pos, register, epoch)
)
--postgres WITH (fillfactor = 50)
;

-- An entry of a register's journal as it came. op and content are those of the
-- innermost original; outcome: 1 applied, 2 applied and flagged, 3 not
-- counted, 4 known already, 5 accepted later; booked: the session that it is
-- booked in.
CREATE TABLE journal (
    pos      TEXT /*C*/ NOT NULL,
    register TEXT /*C*/ NOT NULL,
    epoch    BIGINT NOT NULL,
    seq      BIGINT NOT NULL,
    op       TEXT /*C*/ NOT NULL,
    kind     TEXT NOT NULL,
    hash     BYTEA NOT NULL,
    content  BYTEA NOT NULL,
    raw      BYTEA NOT NULL,
    at       BIGINT NOT NULL,
    received BIGINT NOT NULL,
    stamped  TEXT NOT NULL,
    booked   TEXT /*C*/ NOT NULL,
    outcome  BIGINT NOT NULL,
    wrapped  BOOLEAN NOT NULL,
    PRIMARY KEY (pos, register, epoch, seq)
);
-- An operation counts once; those that a manager accepted stand beside it.
CREATE UNIQUE INDEX journal_op ON journal (pos, op) WHERE outcome < 3;
CREATE INDEX journal_op_else ON journal (pos, op) WHERE outcome >= 3;
CREATE INDEX journal_booked ON journal (pos, booked) WHERE booked <> '';
-- Entries have 1 to 3 kB: kept in the row, uncompressed.
--postgres ALTER TABLE journal SET (toast_tuple_target = 4080);

-- A session or a rescue (root is the session that it rescues, ordinal from 1).
-- orders and total count what is booked in it.
CREATE TABLE sessions (
    pos                TEXT /*C*/ NOT NULL,
    id                 TEXT /*C*/ NOT NULL,
    name               TEXT /*C*/ NOT NULL,
    register           TEXT /*C*/ NOT NULL,
    state              TEXT /*C*/ NOT NULL,
    root               TEXT /*C*/ NOT NULL,
    ordinal            BIGINT NOT NULL,
    business_date      TEXT NOT NULL,
    opened_by          TEXT NOT NULL,
    opened_by_name     TEXT NOT NULL,
    opened_at          BIGINT NOT NULL,
    recovered          BOOLEAN NOT NULL,
    open_heard         BOOLEAN NOT NULL,
    counted_epoch      BIGINT NOT NULL,
    counted_seq        BIGINT NOT NULL,
    close_out          BOOLEAN NOT NULL,
    close_out_approved BOOLEAN NOT NULL,
    max_difference     BIGINT NOT NULL,
    cash_control       BOOLEAN NOT NULL,
    orders             BIGINT NOT NULL,
    total              BIGINT NOT NULL,
    last_at            BIGINT NOT NULL,
    closed_by          TEXT NOT NULL,
    closed_by_name     TEXT NOT NULL,
    closed_at          BIGINT NOT NULL,
    close_reason       TEXT NOT NULL,
    close_kind         TEXT NOT NULL,
    counted            BOOLEAN NOT NULL,
    is_empty           BOOLEAN NOT NULL,
    posting            TEXT NOT NULL,
    digest             TEXT NOT NULL,
    refilling          BOOLEAN NOT NULL,
    PRIMARY KEY (pos, id)
)
--postgres WITH (fillfactor = 70)
;
CREATE INDEX sessions_id ON sessions (id);
CREATE INDEX sessions_opened ON sessions (pos, opened_at, id);
CREATE INDEX sessions_root ON sessions (pos, root, ordinal) WHERE root <> '';
CREATE INDEX sessions_state ON sessions (pos, state) WHERE state <> 'closed';
-- I7: at most one rescue of a root is not closed.
CREATE UNIQUE INDEX sessions_open_rescue ON sessions (pos, root) WHERE root <> '' AND state <> 'closed';

-- A register's stay in a session (session is always the root), from the place
-- in its journal at which it opened or joined it. z: what it has stamped with
-- the session since its last Z, JSON.
CREATE TABLE stays (
    pos          TEXT /*C*/ NOT NULL,
    session      TEXT /*C*/ NOT NULL,
    register     TEXT /*C*/ NOT NULL,
    at_epoch     BIGINT NOT NULL,
    at_seq       BIGINT NOT NULL,
    joined       BOOLEAN NOT NULL,
    user_id      TEXT NOT NULL,
    user_name    TEXT NOT NULL,
    drawer       BOOLEAN NOT NULL,
    control      BOOLEAN NOT NULL,
    cash_method  TEXT NOT NULL,
    float_amount BIGINT NOT NULL,
    begun        BIGINT NOT NULL,
    has_left     BOOLEAN NOT NULL,
    left_at      BIGINT NOT NULL,
    approved     BOOLEAN NOT NULL,
    z            BYTEA NOT NULL,
    PRIMARY KEY (pos, session, register, at_epoch, at_seq)
);
CREATE INDEX stays_register ON stays (pos, register, at_epoch, at_seq);

-- A link of a drawer's chain: one method of one register in one stay, in a
-- session (ordinal 0) or in a rescue of it. counted and fixed are NULL where
-- there is no count, and where no later opening took the line over.
CREATE TABLE drawer_lines (
    pos           TEXT /*C*/ NOT NULL,
    register      TEXT /*C*/ NOT NULL,
    method        TEXT /*C*/ NOT NULL,
    stay_epoch    BIGINT NOT NULL,
    stay_seq      BIGINT NOT NULL,
    ordinal       BIGINT NOT NULL,
    session       TEXT /*C*/ NOT NULL,
    root          TEXT NOT NULL,
    method_name   TEXT NOT NULL,
    account       TEXT NOT NULL,
    cash          BOOLEAN NOT NULL,
    control       BOOLEAN NOT NULL,
    is_first      BOOLEAN NOT NULL,
    brought       BIGINT NOT NULL,
    between_moves BIGINT NOT NULL,
    opening       BIGINT NOT NULL,
    taken         BIGINT NOT NULL,
    moves         BIGINT NOT NULL,
    counted       BIGINT,
    counted_epoch BIGINT NOT NULL,
    counted_seq   BIGINT NOT NULL,
    after_count   BIGINT NOT NULL,
    left_drawer   BIGINT NOT NULL,
    fixed         BIGINT,
    closed        BOOLEAN NOT NULL,
    PRIMARY KEY (pos, register, method, stay_epoch, stay_seq, ordinal, session)
)
--postgres WITH (fillfactor = 70)
;
CREATE INDEX drawer_lines_session ON drawer_lines (pos, session);

-- A fact of a session, added up over its entries: what its posting is made of.
CREATE TABLE sums (
    pos      TEXT /*C*/ NOT NULL,
    session  TEXT /*C*/ NOT NULL,
    register TEXT /*C*/ NOT NULL,
    kind     TEXT /*C*/ NOT NULL,
    account  TEXT /*C*/ NOT NULL,
    detail   TEXT /*C*/ NOT NULL,
    amount   BIGINT NOT NULL,
    count    BIGINT NOT NULL,
    PRIMARY KEY (pos, session, register, kind, account, detail)
)
--sqlite WITHOUT ROWID
--postgres WITH (fillfactor = 50)
;

-- An order that is booked. copy is 0, or n for the n-th order with the same id
-- that a manager accepted as a sale of its own. stamped is the session that the
-- till had open, session the one that it is booked in.
CREATE TABLE orders (
    pos          TEXT /*C*/ NOT NULL,
    id           TEXT /*C*/ NOT NULL,
    copy         BIGINT NOT NULL,
    register     TEXT NOT NULL,
    entry_epoch  BIGINT NOT NULL,
    entry_seq    BIGINT NOT NULL,
    number       TEXT /*C*/ NOT NULL,
    stamped      TEXT NOT NULL,
    session      TEXT /*C*/ NOT NULL,
    user_id      TEXT NOT NULL,
    user_name    TEXT NOT NULL,
    customer     TEXT NOT NULL,
    at           BIGINT NOT NULL,
    received     BIGINT NOT NULL,
    lines        BIGINT NOT NULL,
    net          BIGINT NOT NULL,
    tax          BIGINT NOT NULL,
    total        BIGINT NOT NULL,
    paid         BIGINT NOT NULL,
    change_given BIGINT NOT NULL,
    rounding     BIGINT NOT NULL,
    catalogue    BIGINT NOT NULL,
    late         BOOLEAN NOT NULL,
    PRIMARY KEY (pos, id, copy)
);
CREATE INDEX orders_number ON orders (pos, number);
CREATE INDEX orders_session ON orders (pos, session, at);
CREATE INDEX orders_at ON orders (pos, at);

-- A line of an order. taxes: []money.TaxSum as JSON; refund_order and
-- refund_line name the line that it takes back.
CREATE TABLE order_lines (
    pos          TEXT /*C*/ NOT NULL,
    order_id     TEXT /*C*/ NOT NULL,
    copy         BIGINT NOT NULL,
    no           BIGINT NOT NULL,
    id           TEXT /*C*/ NOT NULL,
    product      TEXT NOT NULL,
    name         TEXT NOT NULL,
    category     TEXT NOT NULL,
    qty          BIGINT NOT NULL,
    price        BIGINT NOT NULL,
    net          BIGINT NOT NULL,
    tax          BIGINT NOT NULL,
    total        BIGINT NOT NULL,
    account      TEXT NOT NULL,
    taxes        BYTEA NOT NULL,
    refund_order TEXT /*C*/ NOT NULL,
    refund_line  TEXT /*C*/ NOT NULL,
    PRIMARY KEY (pos, order_id, copy, no)
)
--sqlite WITHOUT ROWID
;
CREATE INDEX order_lines_refund ON order_lines (pos, refund_order) WHERE refund_order <> '';

-- A tender of an order or of a receipt of a debt (order_id is the receipt's
-- id). amount: net of change.
CREATE TABLE payments (
    pos       TEXT /*C*/ NOT NULL,
    order_id  TEXT /*C*/ NOT NULL,
    copy      BIGINT NOT NULL,
    no        BIGINT NOT NULL,
    session   TEXT NOT NULL,
    register  TEXT NOT NULL,
    method    TEXT NOT NULL,
    kind      TEXT NOT NULL,
    account   TEXT NOT NULL,
    amount    BIGINT NOT NULL,
    reference TEXT NOT NULL,
    PRIMARY KEY (pos, order_id, copy, no)
)
--sqlite WITHOUT ROWID
;

-- A cash move: amount > 0 into the drawer. session is where it is booked, ''
-- while it waits for its drawer's next line.
CREATE TABLE moves (
    pos              TEXT /*C*/ NOT NULL,
    id               TEXT /*C*/ NOT NULL,
    register         TEXT /*C*/ NOT NULL,
    entry_epoch      BIGINT NOT NULL,
    entry_seq        BIGINT NOT NULL,
    stamped          TEXT NOT NULL,
    session          TEXT /*C*/ NOT NULL,
    method           TEXT NOT NULL,
    cash_account     TEXT NOT NULL,
    account          TEXT NOT NULL,
    reason           TEXT NOT NULL,
    amount           BIGINT NOT NULL,
    user_id          TEXT NOT NULL,
    note             TEXT NOT NULL,
    at               BIGINT NOT NULL,
    close_drop       BOOLEAN NOT NULL,
    between_sessions BOOLEAN NOT NULL,
    PRIMARY KEY (pos, id)
);
CREATE INDEX moves_session ON moves (pos, session) WHERE session <> '';
CREATE INDEX moves_waiting ON moves (pos, register) WHERE session = '';

-- A line of a session's story. entry is (0, 0) and no its order for what was
-- done at the centre. detail: JSON.
CREATE TABLE history (
    pos         TEXT /*C*/ NOT NULL,
    session     TEXT /*C*/ NOT NULL,
    register    TEXT /*C*/ NOT NULL,
    entry_epoch BIGINT NOT NULL,
    entry_seq   BIGINT NOT NULL,
    no          BIGINT NOT NULL,
    kind        TEXT /*C*/ NOT NULL,
    user_id     TEXT NOT NULL,
    user_name   TEXT NOT NULL,
    at          BIGINT NOT NULL,
    detail      TEXT NOT NULL,
    PRIMARY KEY (pos, session, register, entry_epoch, entry_seq, no, kind)
)
--sqlite WITHOUT ROWID
;

-- A count of one method as it was made; late ones, and those of a manager.
CREATE TABLE counts (
    pos         TEXT /*C*/ NOT NULL,
    session     TEXT /*C*/ NOT NULL,
    register    TEXT /*C*/ NOT NULL,
    method      TEXT /*C*/ NOT NULL,
    entry_epoch BIGINT NOT NULL,
    entry_seq   BIGINT NOT NULL,
    at          BIGINT NOT NULL,
    attempt     BIGINT NOT NULL,
    amount      BIGINT NOT NULL,
    late        BOOLEAN NOT NULL,
    counted_by  TEXT NOT NULL,
    PRIMARY KEY (pos, session, register, method, entry_epoch, entry_seq, at, attempt)
)
--sqlite WITHOUT ROWID
;

-- A Z report. A number of a series comes twice only from the two branches of a
-- fork: both are kept. body: pos.Z as JSON.
CREATE TABLE z_reports (
    pos         TEXT /*C*/ NOT NULL,
    register    TEXT /*C*/ NOT NULL,
    series      TEXT /*C*/ NOT NULL,
    number      BIGINT NOT NULL,
    entry_epoch BIGINT NOT NULL,
    entry_seq   BIGINT NOT NULL,
    session     TEXT /*C*/ NOT NULL,
    body        BYTEA NOT NULL,
    finding     TEXT NOT NULL,
    PRIMARY KEY (pos, register, series, number, entry_epoch, entry_seq)
);
CREATE INDEX z_reports_session ON z_reports (pos, session);

-- A posting: the balanced entry of a closed session. number is made of year,
-- tag of the incarnation and ordinal; day is YYYY-MM-DD.
CREATE TABLE postings (
    pos     TEXT /*C*/ NOT NULL,
    session TEXT /*C*/ NOT NULL,
    number  TEXT /*C*/ NOT NULL,
    year    BIGINT NOT NULL,
    tag     TEXT /*C*/ NOT NULL,
    ordinal BIGINT NOT NULL,
    day     TEXT /*C*/ NOT NULL,
    label   TEXT NOT NULL,
    at      BIGINT NOT NULL,
    hash    TEXT NOT NULL,
    PRIMARY KEY (pos, session)
);
CREATE UNIQUE INDEX postings_number ON postings (tag, year, ordinal);
CREATE INDEX postings_day ON postings (pos, day);

-- A line of a posting.
CREATE TABLE posting_lines (
    pos      TEXT /*C*/ NOT NULL,
    session  TEXT /*C*/ NOT NULL,
    no       BIGINT NOT NULL,
    account  TEXT NOT NULL,
    debit    BIGINT NOT NULL,
    credit   BIGINT NOT NULL,
    label    TEXT NOT NULL,
    register TEXT NOT NULL,
    method   TEXT NOT NULL,
    customer TEXT NOT NULL,
    detail   TEXT NOT NULL,
    PRIMARY KEY (pos, session, no)
);

-- The record of a close. body: pos.Close as JSON.
CREATE TABLE closes (
    pos     TEXT /*C*/ NOT NULL,
    session TEXT /*C*/ NOT NULL,
    root    TEXT /*C*/ NOT NULL,
    ordinal BIGINT NOT NULL,
    at      BIGINT NOT NULL,
    body    BYTEA NOT NULL,
    PRIMARY KEY (pos, session)
);

-- That a register has journalled a close.
CREATE TABLE heard_closes (
    pos      TEXT /*C*/ NOT NULL,
    register TEXT /*C*/ NOT NULL,
    session  TEXT /*C*/ NOT NULL,
    PRIMARY KEY (pos, register, session)
)
--sqlite WITHOUT ROWID
;

-- Something that a person should look at. params: JSON; resolved: when it was
-- dealt with, 0 while it was not.
CREATE TABLE flags (
    pos         TEXT /*C*/ NOT NULL,
    id          TEXT /*C*/ NOT NULL,
    code        TEXT NOT NULL,
    register    TEXT NOT NULL,
    entry_epoch BIGINT NOT NULL,
    entry_seq   BIGINT NOT NULL,
    session     TEXT /*C*/ NOT NULL,
    params      BYTEA NOT NULL,
    at          BIGINT NOT NULL,
    resolved    BIGINT NOT NULL,
    resolved_by TEXT NOT NULL,
    how         TEXT NOT NULL,
    PRIMARY KEY (pos, id)
);
CREATE INDEX flags_at ON flags (pos, at, id);
CREATE INDEX flags_open ON flags (pos, at, id) WHERE resolved = 0;
CREATE INDEX flags_session ON flags (session, at) WHERE session <> '';

-- A thing of the catalogue as it is at its revision; pos is '' where it is
-- common to all. Deleted things stay as tombstones.
CREATE TABLE things (
    pos      TEXT /*C*/ NOT NULL,
    kind     TEXT /*C*/ NOT NULL,
    id       TEXT /*C*/ NOT NULL,
    revision BIGINT NOT NULL,
    deleted  BOOLEAN NOT NULL,
    body     BYTEA NOT NULL,
    changed  BIGINT NOT NULL,
    PRIMARY KEY (pos, kind, id)
);
CREATE INDEX things_revision ON things (pos, revision);

-- A person. pin and password are argon2id in PHC form; points: codes of points
-- of sale.
CREATE TABLE users (
    id       TEXT /*C*/ NOT NULL,
    login    TEXT /*C*/ NOT NULL,
    name     TEXT NOT NULL,
    role     TEXT NOT NULL,
    pin      TEXT NOT NULL,
    password TEXT NOT NULL,
    active   BOOLEAN NOT NULL,
    points   TEXT NOT NULL,
    created  BIGINT NOT NULL,
    PRIMARY KEY (id)
);
CREATE UNIQUE INDEX users_login ON users (login) WHERE login <> '';

-- A bearer token of a user, by its hash.
CREATE TABLE tokens (
    hash    BYTEA NOT NULL,
    user_id TEXT NOT NULL,
    name    TEXT NOT NULL,
    created BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    PRIMARY KEY (hash)
);

-- A pairing code of a register, by its hash; used: when, tries: wrong ones.
CREATE TABLE pairings (
    code_hash BYTEA NOT NULL,
    pos       TEXT NOT NULL,
    register  TEXT NOT NULL,
    expires   BIGINT NOT NULL,
    used      BIGINT NOT NULL,
    tries     BIGINT NOT NULL,
    PRIMARY KEY (code_hash)
);

-- That something changed. revision is 0 until the row is numbered, outside the
-- transaction that wrote it.
CREATE TABLE outbox (
    pos      TEXT /*C*/ NOT NULL,
    id       TEXT /*C*/ NOT NULL,
    kind     TEXT NOT NULL,
    ref      TEXT NOT NULL,
    revision BIGINT NOT NULL,
    at       BIGINT NOT NULL,
    PRIMARY KEY (pos, id)
);
CREATE UNIQUE INDEX outbox_revision ON outbox (revision) WHERE revision > 0;
CREATE INDEX outbox_new ON outbox (at) WHERE revision = 0;

-- An action of a person at the centre. before_json, after_json: JSON.
CREATE TABLE audit (
    id          TEXT /*C*/ NOT NULL,
    at          BIGINT NOT NULL,
    user_id     TEXT NOT NULL,
    remote      TEXT NOT NULL,
    action      TEXT NOT NULL,
    target      TEXT NOT NULL,
    before_json BYTEA NOT NULL,
    after_json  BYTEA NOT NULL,
    PRIMARY KEY (id)
);
CREATE INDEX audit_at ON audit (at, id);

-- What the server remembers about itself, by name.
CREATE TABLE meta (
    name  TEXT /*C*/ NOT NULL,
    value BYTEA NOT NULL,
    PRIMARY KEY (name)
);

-- Counters, each a row that is locked while its next value is taken:
-- catalogue and outbox (revisions), posting/TAG/YEAR.
CREATE TABLE counters (
    name  TEXT /*C*/ NOT NULL,
    value BIGINT NOT NULL,
    PRIMARY KEY (name)
);
INSERT INTO counters (name, value) VALUES ('catalogue', 0), ('outbox', 0);
