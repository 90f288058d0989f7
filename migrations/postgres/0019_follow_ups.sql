-- Messages about which nothing final was said, so that they are found without reading the rest. On a large table the index
-- can be made beforehand under this name, CONCURRENTLY.
CREATE INDEX IF NOT EXISTS statuses_open_messages ON statuses (first_seen) WHERE resource = 'message' AND NOT final;

-- Statuses that say nothing final for long: each is asked for at Twilio a few times.
CREATE TABLE follow_ups (
    account    text COLLATE "C" NOT NULL,
    sid        text COLLATE "C" NOT NULL,
    resource   text COLLATE "C" NOT NULL,
    first_seen timestamptz NOT NULL,
    ask_at     timestamptz,
    PRIMARY KEY (account, sid)
);
CREATE INDEX follow_ups_ask ON follow_ups (account, ask_at) WHERE ask_at IS NOT NULL;
COMMENT ON TABLE follow_ups IS 'Statuses that say nothing final for long, and are asked for at Twilio';
COMMENT ON COLUMN follow_ups.ask_at IS 'When it is asked for next; NULL once Twilio never said anything final';

-- Roles that were granted rights on events can do with this table what they do: read, or store.
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
        EXECUTE format('GRANT SELECT ON follow_ups TO %s', granted.role);
        IF granted.privilege = 'INSERT' THEN
            EXECUTE format('GRANT INSERT, UPDATE, DELETE ON follow_ups TO %s', granted.role);
        END IF;
    END LOOP;
END
$$;
