-- The application's own parameters, decoded from the query of the callback URL. NULL in rows of before.
ALTER TABLE events ADD COLUMN own TEXT;
ALTER TABLE statuses ADD COLUMN own TEXT;
-- What orders the parameters of a SID's events.
ALTER TABLE statuses ADD COLUMN own_order BLOB;

-- What became of it: one row per fresh event, in the order of commits. AUTOINCREMENT: no id is ever used again.
CREATE TABLE changes (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    stored_at  TEXT NOT NULL,
    account    TEXT NOT NULL,
    key        TEXT NOT NULL,
    kind       TEXT NOT NULL,
    sid        TEXT,
    resource   TEXT,
    status     TEXT,
    previous   TEXT,
    current    TEXT,
    moved      INTEGER NOT NULL,
    error_code TEXT,
    own        TEXT
) STRICT;
CREATE INDEX changes_sid ON changes (sid) WHERE sid IS NOT NULL;
CREATE INDEX changes_key ON changes (key) WHERE sid IS NULL;

-- Which feed it is, and what of it is gone: the greatest id that retention deleted. One row.
CREATE TABLE feed (
    one INTEGER PRIMARY KEY DEFAULT 1 CHECK (one = 1),
    id  TEXT NOT NULL DEFAULT (lower(hex(randomblob(8)))),
    cut INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO feed DEFAULT VALUES;
