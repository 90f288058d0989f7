-- When a row was stored: by that it grows old. Rows that are there take the time at which they were received.
ALTER TABLE events ADD COLUMN stored_at TEXT;
UPDATE events SET stored_at = received_at;
CREATE INDEX events_stored_at ON events (stored_at, key);
