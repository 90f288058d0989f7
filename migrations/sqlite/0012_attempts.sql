-- The attempt to send something that a callback belongs to: its id, from the query of the callback URL. NULL for all that
-- offhook has not sent.
ALTER TABLE events ADD COLUMN attempt TEXT;
CREATE INDEX events_by_attempt ON events (attempt) WHERE attempt IS NOT NULL;

-- One row for each event that carries an attempt, in the transaction that stores the event: a sender takes it and decides
-- what follows. Nothing here may fail or conflict, lest a callback be lost for it: no unique key but the id, no constraint.
CREATE TABLE wakes (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    attempt TEXT,
    sid     TEXT,
    account TEXT,
    at      TEXT
) STRICT;
CREATE INDEX wakes_sid ON wakes (sid);
