-- Another account can sign a callback about the same SID. That is another event, and another row: it
-- must neither take the name of this account's event nor touch its status. SQLite changes a key only
-- by making the table anew.
DROP VIEW calls;
DROP VIEW messages;

CREATE TABLE events_by_account (
    key               TEXT NOT NULL,
    kind              TEXT NOT NULL,
    account           TEXT NOT NULL,
    sid               TEXT,
    resource          TEXT,
    status            TEXT,
    rank              INTEGER,
    sequence          INTEGER,
    occurred_at       TEXT,
    received_at       TEXT NOT NULL,
    format            TEXT NOT NULL,
    query             TEXT NOT NULL,
    params            TEXT NOT NULL,
    body              BLOB NOT NULL,
    about_account     TEXT,
    call_sid          TEXT,
    fingerprint       INTEGER,
    method            TEXT,
    route             TEXT,
    idempotency_token TEXT,
    UNIQUE (key, account)
) STRICT;
-- Recordings, transcriptions and participants belong to the timeline of their call.
INSERT INTO events_by_account (key, kind, account, sid, resource, status, rank, sequence, occurred_at,
                               received_at, format, query, params, body, call_sid)
SELECT key, kind, account, sid, resource, status, rank, sequence, occurred_at,
       received_at, format, query, params, body,
       CASE WHEN json_type(params, '$.CallSid') = 'text'
             AND params ->> '$.CallSid' IS NOT sid
             AND length(params ->> '$.CallSid') BETWEEN 1 AND 64
             AND params ->> '$.CallSid' NOT GLOB '*[^A-Za-z0-9._-]*'
            THEN params ->> '$.CallSid' END
FROM events ORDER BY rowid;
DROP TABLE events;
ALTER TABLE events_by_account RENAME TO events;
CREATE INDEX events_sid ON events (sid) WHERE sid IS NOT NULL;
CREATE INDEX events_received_at ON events (received_at, key);
CREATE INDEX events_call_sid ON events (call_sid) WHERE call_sid IS NOT NULL;

CREATE TABLE statuses_by_account (
    sid            TEXT NOT NULL,
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
    error_position BLOB,
    PRIMARY KEY (sid, account)
) STRICT, WITHOUT ROWID;
INSERT INTO statuses_by_account (sid, resource, account, status, final, "from", "to", duration,
                                 error_code, terminals, first_seen, updated, position, error_position)
SELECT sid, resource, account, status, final, "from", "to", duration,
       error_code, terminals, first_seen, updated, position, error_position
FROM statuses;
DROP TABLE statuses;
ALTER TABLE statuses_by_account RENAME TO statuses;
CREATE INDEX statuses_open_calls ON statuses (first_seen) WHERE resource = 'call' AND final = 0;
CREATE INDEX statuses_first_seen ON statuses (first_seen, sid);
CREATE INDEX statuses_error ON statuses (first_seen, sid) WHERE error_code IS NOT NULL;
CREATE INDEX statuses_from ON statuses (substr("from", 1, 64)) WHERE "from" IS NOT NULL;
CREATE INDEX statuses_to ON statuses (substr("to", 1, 64)) WHERE "to" IS NOT NULL;

CREATE VIEW calls AS
    SELECT sid, account, status, final, "from", "to", duration, error_code, first_seen, updated
    FROM statuses WHERE resource = 'call';
CREATE VIEW messages AS
    SELECT sid, account, status, final, "from", "to", duration, error_code, first_seen, updated
    FROM statuses WHERE resource = 'message';
