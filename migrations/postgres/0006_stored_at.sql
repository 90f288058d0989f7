-- When a row was stored, by this server's clock: by that it grows old. `received_at` is a receiver's time,
-- whose clock may be wrong, and an event that waited in a spool is stored long after it. Rows that are there
-- take the one that they have, in one rewrite of the table instead of an update of each row.
ALTER TABLE events ADD COLUMN stored_at timestamptz;
ALTER TABLE events ALTER COLUMN stored_at TYPE timestamptz USING received_at;
ALTER TABLE events
    ALTER COLUMN stored_at SET DEFAULT clock_timestamp(),
    ALTER COLUMN stored_at SET NOT NULL;
CREATE INDEX events_stored_at ON events (stored_at, key);
COMMENT ON COLUMN events.stored_at IS 'When it was stored, by the clock of this server';
