-- When something was last stored about a SID: by that a status grows old. Rows that are there have none, and grow
-- old by `updated` until something is stored about them.
ALTER TABLE statuses ADD COLUMN stored_at TEXT;

-- Until when a retention was sure of the time, so that a restart does not make it forget that a clock was wrong.
CREATE TABLE retention (
    place   TEXT PRIMARY KEY,
    trusted TEXT NOT NULL
) WITHOUT ROWID;
