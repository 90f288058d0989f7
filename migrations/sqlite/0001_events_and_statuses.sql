-- Every event once. The unique key is what decides about duplicates.
-- Times are text, RFC 3339 in UTC with six decimals, so that text order is time order.
CREATE TABLE events (
    key         TEXT NOT NULL UNIQUE,
    kind        TEXT NOT NULL,
    account     TEXT NOT NULL,
    sid         TEXT,
    resource    TEXT,
    status      TEXT,
    rank        INTEGER,
    sequence    INTEGER,
    occurred_at TEXT,
    received_at TEXT NOT NULL,
    format      TEXT NOT NULL,
    query       TEXT NOT NULL,
    params      TEXT NOT NULL,
    body        BLOB NOT NULL
) STRICT;

CREATE INDEX events_sid ON events (sid) WHERE sid IS NOT NULL;
CREATE INDEX events_received_at ON events (received_at);

-- One row per SID: what is true now.
CREATE TABLE statuses (
    sid            TEXT NOT NULL PRIMARY KEY,
    resource       TEXT NOT NULL,
    account        TEXT NOT NULL,
    status         TEXT NOT NULL,
    final          INTEGER NOT NULL,
    "from"         TEXT,
    "to"           TEXT,
    duration       INTEGER,
    error_code     TEXT,
    terminals      INTEGER NOT NULL,
    contradicted   INTEGER NOT NULL GENERATED ALWAYS AS ((terminals & (terminals - 1)) <> 0) STORED,
    first_seen     TEXT NOT NULL,
    updated        TEXT NOT NULL,
    position       BLOB NOT NULL,
    error_position BLOB
) STRICT, WITHOUT ROWID;

CREATE VIEW calls AS
    SELECT sid, account, status, final, "from", "to", duration, error_code, first_seen, updated
    FROM statuses WHERE resource = 'call';

CREATE VIEW messages AS
    SELECT sid, account, status, final, "from", "to", duration, error_code, first_seen, updated
    FROM statuses WHERE resource = 'message';
