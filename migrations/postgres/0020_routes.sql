-- The steps of a notification that goes by a route, frozen when it is asked for. One without a route has none.
ALTER TABLE notifications ADD COLUMN route text COLLATE "C";
CREATE INDEX notifications_route ON notifications (route, created_at) WHERE route IS NOT NULL;
COMMENT ON COLUMN notifications.route IS 'The route by which it goes; NULL if it goes by its sender alone';

CREATE TABLE steps (
    notification text COLLATE "C" NOT NULL REFERENCES notifications ON DELETE CASCADE,
    number       integer NOT NULL CHECK (number > 0),
    sender       text COLLATE "C" NOT NULL,
    account      text COLLATE "C" NOT NULL,
    pace         text COLLATE "C" NOT NULL,
    to_hash      text COLLATE "C" NOT NULL,
    units        integer NOT NULL CHECK (units > 0),
    channel      text COLLATE "C" NOT NULL,
    confirm      text COLLATE "C",
    language     text,
    voice        text,
    timeout_s    integer CHECK (timeout_s > 0),
    time_limit_s integer CHECK (time_limit_s > 0),
    despite_stop boolean NOT NULL DEFAULT false,
    wait_s       integer NOT NULL CHECK (wait_s > 0),
    state        text COLLATE "C" NOT NULL,
    begun_at     timestamptz,
    over_at      timestamptz,
    ask_at       timestamptz,
    ended_at     timestamptz,
    PRIMARY KEY (notification, number),
    CHECK ((state IN ('waiting', 'skipped')) = (begun_at IS NULL)),
    CHECK (ask_at IS NULL OR state = 'begun')
);
CREATE INDEX steps_ask ON steps (ask_at) WHERE ask_at IS NOT NULL;
COMMENT ON TABLE steps IS 'The steps of each notification that goes by a route';
COMMENT ON COLUMN steps.despite_stop IS 'Whether it goes on after a recipient has said STOP';
COMMENT ON COLUMN steps.wait_s IS 'How long it is waited for after it was sent';
COMMENT ON COLUMN steps.state IS 'waiting, begun, over (Twilio was asked), over_blind (it could not be), or skipped';
COMMENT ON COLUMN steps.over_at IS 'When its time is over; NULL as long as it is not sent';
COMMENT ON COLUMN steps.ask_at IS 'When Twilio is asked for it next; NULL if it is not';
COMMENT ON COLUMN steps.ended_at IS 'When it was decided that its time is over';

-- Who has said STOP is called all the same by these.
ALTER TABLE attempts ADD COLUMN despite_stop boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN attempts.despite_stop IS 'Whether it is sent after its recipient has said STOP';

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
        EXECUTE format('GRANT SELECT ON steps TO %s', granted.role);
        IF granted.privilege = 'INSERT' THEN
            EXECUTE format('GRANT INSERT, UPDATE, DELETE ON steps TO %s', granted.role);
        END IF;
    END LOOP;
END
$$;
