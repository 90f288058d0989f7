-- For whoever looks: the latest first, by number, by error.
CREATE INDEX statuses_first_seen ON statuses (first_seen, sid);
CREATE INDEX statuses_error ON statuses (first_seen, sid) WHERE error_code IS NOT NULL;
CREATE INDEX statuses_from ON statuses (substr("from", 1, 64)) WHERE "from" IS NOT NULL;
CREATE INDEX statuses_to ON statuses (substr("to", 1, 64)) WHERE "to" IS NOT NULL;

DROP INDEX events_received_at;
CREATE INDEX events_received_at ON events (received_at, key);
