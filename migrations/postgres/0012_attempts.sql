-- The attempt to send something that a callback belongs to: its id, from the query of the callback URL. On a large table
-- both can be made beforehand under these names, the index CONCURRENTLY.
ALTER TABLE events ADD COLUMN IF NOT EXISTS attempt text COLLATE "C";
CREATE INDEX IF NOT EXISTS events_by_attempt ON events (attempt) WHERE attempt IS NOT NULL;
COMMENT ON COLUMN events.attempt IS 'The attempt to send something that it belongs to; NULL for all that offhook has not sent';

-- One row for each event that carries an attempt, in the transaction that stores the event: a sender takes it and
-- decides what follows. Nothing here may fail, conflict or wait, lest a callback be lost for it: no unique key, no
-- constraint.
CREATE TABLE wakes (
    id      bigint GENERATED ALWAYS AS IDENTITY,
    attempt text COLLATE "C",
    sid     text COLLATE "C",
    account text COLLATE "C",
    at      timestamptz DEFAULT clock_timestamp()
);
CREATE INDEX wakes_id ON wakes (id);
CREATE INDEX wakes_sid ON wakes (sid);
COMMENT ON TABLE wakes IS 'What became known of attempts, and is still to be decided about';
COMMENT ON COLUMN wakes.at IS 'When the event was stored, by this server''s clock';

-- Roles that were granted rights on events can do with wakes what they do: read, or store.
DO $$
DECLARE
    granted record;
BEGIN
    FOR granted IN
        SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END AS role,
               a.privilege_type AS privilege
        FROM pg_class AS c CROSS JOIN aclexplode(c.relacl) AS a
        WHERE c.oid = 'events'::regclass AND a.grantee <> c.relowner AND a.privilege_type IN ('SELECT', 'INSERT')
    LOOP
        EXECUTE format('GRANT SELECT ON wakes TO %s', granted.role);
        IF granted.privilege = 'INSERT' THEN
            EXECUTE format('GRANT INSERT, UPDATE, DELETE ON wakes TO %s', granted.role);
        END IF;
    END LOOP;
END
$$;
