-- Where each `[[forward]]` stands. One process at a time holds the lease, by this server's clock, and only that one
-- moves the cursor and writes what waits.
CREATE TABLE forwards (
    name          text COLLATE "C" PRIMARY KEY,
    feed          text COLLATE "C" NOT NULL,
    cursor        bigint NOT NULL,
    holder        text COLLATE "C",
    lease_until   timestamptz,
    failing_since timestamptz,
    disabled      text COLLATE "C",
    disabled_at   timestamptz
);
COMMENT ON TABLE forwards IS 'Where each [[forward]] of the configuration stands in the change feed';
COMMENT ON COLUMN forwards.feed IS 'The feed that the cursor is of';
COMMENT ON COLUMN forwards.cursor IS 'Each change up to this one was forwarded, waits, or was given up';
COMMENT ON COLUMN forwards.holder IS 'The process that forwards; NULL if none does';
COMMENT ON COLUMN forwards.lease_until IS 'Until when it may, unless it says so again';
COMMENT ON COLUMN forwards.failing_since IS 'Since when every attempt has failed; NULL if the last one has not';
COMMENT ON COLUMN forwards.disabled IS 'Why nothing is forwarded; NULL if it is';

-- Changes that the cursor has passed and that are still to be forwarded. Of a SID only the first is tried.
CREATE TABLE forward_waiting (
    forward text COLLATE "C" NOT NULL,
    change  bigint NOT NULL,
    account text COLLATE "C" NOT NULL,
    sid     text COLLATE "C",
    tries   integer NOT NULL,
    due     timestamptz,
    PRIMARY KEY (forward, change)
);
CREATE INDEX forward_waiting_change ON forward_waiting (change);
COMMENT ON TABLE forward_waiting IS 'Changes that an endpoint did not take, and those that wait behind them';
COMMENT ON COLUMN forward_waiting.due IS 'When it is tried again; NULL if it waits for an earlier one';

-- Changes that are not tried again.
CREATE TABLE forward_given_up (
    forward text COLLATE "C" NOT NULL,
    change  bigint NOT NULL,
    account text COLLATE "C" NOT NULL,
    sid     text COLLATE "C",
    tries   integer NOT NULL,
    failure text NOT NULL,
    at      timestamptz NOT NULL,
    replay  boolean NOT NULL DEFAULT false,
    PRIMARY KEY (forward, change)
);
CREATE INDEX forward_given_up_change ON forward_given_up (change);
CREATE INDEX forward_given_up_replay ON forward_given_up (forward, change) WHERE replay;
COMMENT ON TABLE forward_given_up IS 'Changes that an endpoint did not take, and that are not tried again';
COMMENT ON COLUMN forward_given_up.failure IS 'How the last attempt failed';
COMMENT ON COLUMN forward_given_up.replay IS 'Whether it will be tried again after all';

-- Roles that were granted rights on events can do with forwards what they do: read, or store.
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
        EXECUTE format('GRANT SELECT ON forwards, forward_waiting, forward_given_up TO %s', granted.role);
        IF granted.privilege = 'INSERT' THEN
            EXECUTE format('GRANT INSERT, UPDATE, DELETE ON forwards, forward_waiting, forward_given_up TO %s',
                           granted.role);
        END IF;
    END LOOP;
END
$$;
