-- When a row was put aside, in seconds since 1970. Those that were before this count from now.
ALTER TABLE spool ADD COLUMN dead_at INTEGER;
UPDATE spool SET dead_at = unixepoch() WHERE dead_reason IS NOT NULL;
CREATE INDEX spool_dead ON spool (dead_at) WHERE dead_at IS NOT NULL;
