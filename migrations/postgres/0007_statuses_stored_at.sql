-- When something was last stored about a SID, by this server's clock: by that a status grows old. `updated` is a
-- receiver's time, whose clock may be behind. Not indexed, so that a row can still be updated in place. Rows that
-- are there have none, and grow old by `updated` until something is stored about them: no row is written here.
ALTER TABLE statuses ADD COLUMN stored_at timestamptz;
ALTER TABLE statuses ALTER COLUMN stored_at SET DEFAULT clock_timestamp();
COMMENT ON COLUMN statuses.stored_at IS 'When something was last stored about it, by the clock of this server';

-- Until when a retention was sure of the time, so that a restart does not make it forget that a clock was wrong.
CREATE TABLE retention (
    place   text COLLATE "C" PRIMARY KEY,
    trusted timestamptz NOT NULL
);
COMMENT ON TABLE retention IS 'Until when the clocks were trusted, per table from which old rows are deleted';
