-- What is to be sent, and what came of it. A notification is one recipient to be reached; an attempt is one POST to a
-- provider that may have had an effect. All times are by the machine's clock.
CREATE TABLE notifications (
    id              TEXT PRIMARY KEY,
    created_at      TEXT NOT NULL,
    token           TEXT NOT NULL,
    idempotency_key TEXT,
    request_hash    TEXT NOT NULL,
    purpose         TEXT NOT NULL,
    on_unknown      TEXT NOT NULL CHECK (on_unknown IN ('report', 'resend')),
    sender          TEXT NOT NULL,
    account         TEXT NOT NULL,
    "to"            TEXT NOT NULL,
    to_hash         TEXT NOT NULL,
    body            TEXT NOT NULL,
    segments        INTEGER NOT NULL CHECK (segments > 0),
    reference       TEXT,
    deadline        TEXT NOT NULL,
    state           TEXT NOT NULL,
    reason          TEXT,
    settled_at      TEXT,
    CHECK ((state = 'open') = (settled_at IS NULL))
) STRICT;
CREATE UNIQUE INDEX notifications_idempotency ON notifications (token, idempotency_key)
    WHERE idempotency_key IS NOT NULL;
CREATE INDEX notifications_reference ON notifications (reference) WHERE reference IS NOT NULL;
CREATE INDEX notifications_state ON notifications (state, created_at);
CREATE INDEX notifications_to ON notifications (to_hash);

CREATE TABLE attempts (
    id           TEXT PRIMARY KEY,
    notification TEXT NOT NULL REFERENCES notifications ON DELETE CASCADE,
    number       INTEGER NOT NULL,
    created_at   TEXT NOT NULL,
    sender       TEXT NOT NULL,
    account      TEXT NOT NULL,
    pace         TEXT NOT NULL,
    to_hash      TEXT NOT NULL,
    units        INTEGER NOT NULL CHECK (units > 0),
    priority     INTEGER NOT NULL,
    deadline     TEXT NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('due', 'claimed', 'writing', 'accepted', 'confirmed',
        'failed', 'unconfirmed', 'unknown', 'refused', 'expired', 'cancelled')),
    due_at       TEXT NOT NULL,
    held         TEXT,
    holder       TEXT,
    send_at      TEXT,
    lease_until  TEXT,
    tries        INTEGER NOT NULL DEFAULT 0,
    throttled    INTEGER NOT NULL DEFAULT 0,
    written_at   TEXT,
    sid          TEXT,
    reason       TEXT,
    look_at      TEXT,
    looks        INTEGER NOT NULL DEFAULT 0,
    settled_at   TEXT,
    UNIQUE (notification, number),
    CHECK ((state IN ('claimed', 'writing')) = (lease_until IS NOT NULL)),
    CHECK (state NOT IN ('writing', 'accepted', 'confirmed', 'unconfirmed', 'unknown') OR written_at IS NOT NULL),
    CHECK (state NOT IN ('accepted', 'confirmed', 'unconfirmed') OR sid IS NOT NULL)
) STRICT;
CREATE INDEX attempts_due ON attempts (pace, priority, deadline, created_at) WHERE state = 'due';
CREATE INDEX attempts_deadline ON attempts (deadline) WHERE state = 'due';
CREATE INDEX attempts_writing ON attempts (account) WHERE state = 'writing';
CREATE INDEX attempts_lease ON attempts (lease_until) WHERE lease_until IS NOT NULL;
CREATE INDEX attempts_look ON attempts (look_at) WHERE look_at IS NOT NULL;
CREATE INDEX attempts_sid ON attempts (sid) WHERE sid IS NOT NULL;
CREATE INDEX attempts_recipient ON attempts (to_hash, written_at) WHERE written_at IS NOT NULL;
CREATE INDEX attempts_unknown ON attempts (written_at) WHERE state = 'unknown';

-- Every SID that an attempt is proven to have: more than one is a duplicate.
CREATE TABLE attempt_sids (
    attempt TEXT NOT NULL REFERENCES attempts ON DELETE CASCADE,
    sid     TEXT NOT NULL,
    proof   TEXT NOT NULL,
    at      TEXT NOT NULL,
    PRIMARY KEY (attempt, sid)
) STRICT;
CREATE INDEX attempt_sids_sid ON attempt_sids (sid);

CREATE TABLE paces (
    name    TEXT PRIMARY KEY,
    free_at TEXT NOT NULL
) STRICT;

CREATE TABLE senders (
    name           TEXT PRIMARY KEY,
    paused         TEXT,
    paused_at      TEXT,
    cooldown_until TEXT,
    cooldown_ms    INTEGER NOT NULL DEFAULT 0,
    unlisted       INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE sending_accounts (
    account        TEXT PRIMARY KEY,
    paused         TEXT,
    paused_at      TEXT,
    cooldown_until TEXT,
    failures       INTEGER NOT NULL DEFAULT 0,
    day            TEXT NOT NULL DEFAULT '',
    day_count      INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Who must not be reached: an append-only log, of which the latest entry of an address counts.
CREATE TABLE suppressions (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    to_hash TEXT NOT NULL,
    "to"    TEXT,
    stop    INTEGER NOT NULL,
    source  TEXT NOT NULL,
    at      TEXT NOT NULL
) STRICT;
CREATE INDEX suppressions_address ON suppressions (to_hash, id);

-- One row: what this deployment is, and whether it sends at all.
CREATE TABLE outbox (
    one         INTEGER PRIMARY KEY DEFAULT 1 CHECK (one = 1),
    secret      TEXT NOT NULL,
    suppression TEXT,
    identity    TEXT,
    held        TEXT,
    held_at     TEXT
) STRICT;
