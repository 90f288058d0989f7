-- What people ask for by equality, as they write it. Of a very long address a status keeps the start and a hash; rows of
-- before keep all of it, since SQLite can make no such hash and has no bound.
DROP INDEX statuses_from;
DROP INDEX statuses_to;
CREATE INDEX statuses_by_from ON statuses ("from") WHERE "from" IS NOT NULL;
CREATE INDEX statuses_by_to ON statuses ("to") WHERE "to" IS NOT NULL;

-- inbound, outbound-api, outbound-dial, as Twilio says it; of a message inbound or outbound. NULL in rows of before.
ALTER TABLE statuses ADD COLUMN direction TEXT;

DROP VIEW calls;
CREATE VIEW calls AS
    SELECT sid, account, status, final, "from", "to", duration, error_code, first_seen, updated,
           contradicted, direction, own
    FROM statuses WHERE resource = 'call';
-- No message has a duration.
DROP VIEW messages;
CREATE VIEW messages AS
    SELECT sid, account, status, final, "from", "to", error_code, first_seen, updated,
           contradicted, direction, own
    FROM statuses WHERE resource = 'message';
