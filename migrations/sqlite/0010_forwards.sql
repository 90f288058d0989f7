-- Where each `[[forward]]` stands. One process at a time holds the lease, and only that one moves the cursor and writes
-- what waits.
CREATE TABLE forwards (
    name          TEXT PRIMARY KEY,
    feed          TEXT NOT NULL,
    cursor        INTEGER NOT NULL,
    holder        TEXT,
    lease_until   TEXT,
    failing_since TEXT,
    disabled      TEXT,
    disabled_at   TEXT
) STRICT, WITHOUT ROWID;

-- Changes that the cursor has passed and that are still to be forwarded. Of a SID only the first is tried. `due`: when
-- it is tried again; NULL if it waits for an earlier one.
CREATE TABLE forward_waiting (
    forward TEXT NOT NULL,
    change  INTEGER NOT NULL,
    account TEXT NOT NULL,
    sid     TEXT,
    tries   INTEGER NOT NULL,
    due     TEXT,
    PRIMARY KEY (forward, change)
) STRICT, WITHOUT ROWID;
CREATE INDEX forward_waiting_change ON forward_waiting (change);

-- Changes that are not tried again. `replay`: whether it will be tried again after all.
CREATE TABLE forward_given_up (
    forward TEXT NOT NULL,
    change  INTEGER NOT NULL,
    account TEXT NOT NULL,
    sid     TEXT,
    tries   INTEGER NOT NULL,
    failure TEXT NOT NULL,
    at      TEXT NOT NULL,
    replay  INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (forward, change)
) STRICT, WITHOUT ROWID;
CREATE INDEX forward_given_up_change ON forward_given_up (change);
CREATE INDEX forward_given_up_replay ON forward_given_up (forward, change) WHERE replay = 1;
