-- For whoever looks: the latest first, by number, by error. Of statuses, nothing is indexed here
-- that an ordinary event of a known SID changes, so that its row can still be updated in place.
CREATE INDEX statuses_first_seen ON statuses (first_seen, sid);
CREATE INDEX statuses_error ON statuses (first_seen, sid) WHERE error_code IS NOT NULL;
-- The start only: an address may be longer than an entry of an index.
CREATE INDEX statuses_from ON statuses (substr("from", 1, 64)) WHERE "from" IS NOT NULL;
CREATE INDEX statuses_to ON statuses (substr("to", 1, 64)) WHERE "to" IS NOT NULL;

-- A block range index cannot give an order.
DROP INDEX events_received_at;
CREATE INDEX events_received_at ON events (received_at, key);
