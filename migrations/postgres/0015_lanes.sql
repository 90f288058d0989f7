-- What is due, by sender: what may be sent now, and what a gate holds, in the order in which a claim reads them. What
-- is held, or belongs to a sender that is paused, is not read before what may be sent. The indexes can be made
-- beforehand under these names, CONCURRENTLY.
CREATE INDEX IF NOT EXISTS attempts_ready ON attempts (pace, sender, priority, deadline, created_at)
    WHERE state = 'due' AND held IS NULL;
CREATE INDEX IF NOT EXISTS attempts_held ON attempts (pace, sender, priority, due_at)
    WHERE state = 'due' AND held IS NOT NULL;
DROP INDEX attempts_due;

-- Lists of notifications go back from the newest.
CREATE INDEX IF NOT EXISTS notifications_created ON notifications (created_at, id);

-- A person may have held everything before a configuration of another deployment did.
ALTER TABLE outbox ADD COLUMN held_before text COLLATE "C";
COMMENT ON COLUMN outbox.held_before IS 'Why nothing was sent before it was held until it is adopted; NULL if something was';
