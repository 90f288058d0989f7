-- What people ask for by equality, as they write it. A hash index, since an address may be longer than an entry of a
-- btree. On a large table both can be made beforehand, CONCURRENTLY and under these names: then nothing is left to do.
CREATE INDEX IF NOT EXISTS statuses_by_from ON statuses USING hash ("from");
CREATE INDEX IF NOT EXISTS statuses_by_to ON statuses USING hash ("to");
DROP INDEX statuses_from;
DROP INDEX statuses_to;

ALTER TABLE statuses ADD COLUMN direction text COLLATE "C";
COMMENT ON COLUMN statuses.direction IS
    'inbound, outbound-api, outbound-dial, as Twilio says it; of a message inbound or outbound. NULL in rows of before';

CREATE OR REPLACE VIEW calls AS
    SELECT sid, account, status, final, "from", "to", duration, error_code, first_seen, updated,
           contradicted, direction, own
    FROM statuses WHERE resource = 'call';

-- A column can only be taken out of a view by making it anew. No message has a duration.
DROP VIEW messages;
CREATE VIEW messages AS
    SELECT sid, account, status, final, "from", "to", error_code, first_seen, updated,
           contradicted, direction, own
    FROM statuses WHERE resource = 'message';
