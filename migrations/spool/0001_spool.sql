-- Events that wait for the log, in the order in which they came. The columns are the fields of a
-- stream entry, as they will be written there.
CREATE TABLE spool (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    "key"       BLOB NOT NULL,
    kind        BLOB NOT NULL,
    account     BLOB NOT NULL,
    sid         BLOB NOT NULL,
    resource    BLOB NOT NULL,
    status      BLOB NOT NULL,
    sequence    BLOB NOT NULL,
    occurred_at BLOB NOT NULL,
    received_at BLOB NOT NULL,
    format      BLOB NOT NULL,
    "query"     BLOB NOT NULL,
    body        BLOB NOT NULL,
    -- About what the row takes, by which the spool is bounded.
    bytes       INTEGER NOT NULL,
    -- Why this one is kept aside; NULL for all that wait.
    dead_reason TEXT
) STRICT;
