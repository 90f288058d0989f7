-- The application's own parameters, decoded from the query of the callback URL. NULL in rows of before: Postgres
-- cannot decode a query.
ALTER TABLE events ADD COLUMN own jsonb;
CREATE INDEX events_own ON events USING gin (own jsonb_path_ops) WHERE own IS NOT NULL;
COMMENT ON COLUMN events.own IS 'The parameters that you put into the query of the callback URL; NULL if there are none, and in rows of before 0.2';

-- `own_order`: what orders the parameters of a SID's events. `previous_position`: what `position` was before the last
-- transaction that stored something about the SID; RETURNING sees the new row alone.
ALTER TABLE statuses
    ADD COLUMN own               jsonb,
    ADD COLUMN own_order         bytea,
    ADD COLUMN previous_position bytea;
CREATE INDEX statuses_own ON statuses USING gin (own jsonb_path_ops) WHERE own IS NOT NULL;
COMMENT ON COLUMN statuses.own IS 'The parameters that you put into the query of the callback URL, of the event furthest along that has any';
COMMENT ON COLUMN statuses.own_order IS 'Position of that event and a hash of the parameters as bytes: the greatest wins';
COMMENT ON COLUMN statuses.previous_position IS 'position before the last transaction that stored something about the SID';

-- What became of it: one row per fresh event, in the order of commits. A transaction takes its ids last, under a lock
-- that it holds until it has committed: so a reader that has seen one id never meets a smaller one later.
CREATE SEQUENCE changes_id_seq AS bigint CACHE 1;
CREATE TABLE changes (
    id         bigint PRIMARY KEY,
    stored_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    account    text COLLATE "C" NOT NULL,
    key        text COLLATE "C" NOT NULL,
    kind       text NOT NULL,
    sid        text COLLATE "C",
    resource   text,
    status     text COLLATE "C",
    previous   text COLLATE "C",
    current    text COLLATE "C",
    moved      boolean NOT NULL,
    error_code text COLLATE "C",
    own        jsonb
);
ALTER SEQUENCE changes_id_seq OWNED BY changes.id;
-- By hash, which costs a commit a quarter of what a btree does: SIDs come in no order.
CREATE INDEX changes_sid ON changes USING hash (sid);
CREATE INDEX changes_key ON changes (key) WHERE sid IS NULL;
COMMENT ON TABLE changes IS 'One row per event that was new, in the order of commits: read WHERE id > the last one';
COMMENT ON COLUMN changes.id IS 'Greater ids were committed later; some numbers are never used';
COMMENT ON COLUMN changes.key IS 'Name of the event within the account, as in events';
COMMENT ON COLUMN changes.status IS 'The status that this event reports';
COMMENT ON COLUMN changes.previous IS 'The status of the SID before the transaction; NULL if it had none';
COMMENT ON COLUMN changes.current IS 'The status of the SID after the transaction; NULL if it has none';
COMMENT ON COLUMN changes.moved IS 'Whether this event became the current one';
COMMENT ON COLUMN changes.own IS 'The parameters that you put into the query of the callback URL';

-- Which feed it is, and what of it is gone. One row.
CREATE TABLE feed (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    id  text COLLATE "C" NOT NULL DEFAULT left(replace(gen_random_uuid()::text, '-', ''), 16),
    cut bigint NOT NULL DEFAULT 0
);
INSERT INTO feed DEFAULT VALUES;
COMMENT ON TABLE feed IS 'The change feed: a cursor is <id>.<id of a change>';
COMMENT ON COLUMN feed.id IS 'Another one makes every cursor invalid: UPDATE feed SET id = DEFAULT after a restore';
COMMENT ON COLUMN feed.cut IS 'The greatest id that retention deleted';

-- Roles that were granted rights on events can do with the feed what they do: read, or store and delete what is old.
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
        EXECUTE format('GRANT SELECT ON changes, feed, changes_id_seq TO %s', granted.role);
        IF granted.privilege = 'INSERT' THEN
            EXECUTE format('GRANT INSERT, DELETE ON changes TO %s', granted.role);
            EXECUTE format('GRANT UPDATE ON feed TO %s', granted.role);
            EXECUTE format('GRANT USAGE ON SEQUENCE changes_id_seq TO %s', granted.role);
            EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON retention TO %s', granted.role);
        END IF;
    END LOOP;
END
$$;

-- The end of the feed as it is now: where to begin if nothing of before matters.
CREATE FUNCTION offhook_cursor() RETURNS text LANGUAGE sql STABLE AS $$
    SELECT feed.id || '.' || greatest(feed.cut, coalesce((SELECT max(changes.id) FROM changes), 0)) FROM feed
$$;
COMMENT ON FUNCTION offhook_cursor() IS 'The cursor of the end of the change feed';

-- What was committed after a cursor, in that order. NULL begins with what is kept. A cursor from which something is
-- missing is an error: its SQLSTATE is OH410.
CREATE FUNCTION offhook_changes(after text DEFAULT NULL, max_rows integer DEFAULT 100)
RETURNS TABLE (
    cursor text, id bigint, stored_at timestamptz, account text, key text, kind text, sid text, resource text,
    status text, previous text, current text, moved boolean, error_code text, own jsonb
) LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
    feed_id text;
    feed_cut bigint;
    last_id bigint;
    after_id bigint;
BEGIN
    SELECT f.id, f.cut INTO STRICT feed_id, feed_cut FROM feed AS f;
    IF after IS NULL THEN
        after_id := feed_cut;
    ELSIF after !~ '^[0-9a-f]{1,32}\.[0-9]{1,18}$' THEN
        RAISE EXCEPTION 'this is no cursor of the change feed'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give the cursor of the last row that you have dealt with.';
    ELSE
        after_id := split_part(after, '.', 2);
        SELECT s.last_value INTO STRICT last_id FROM changes_id_seq AS s;
        IF split_part(after, '.', 1) <> feed_id THEN
            RAISE EXCEPTION 'the cursor is of another feed'
                USING ERRCODE = 'OH410', HINT = 'The database was made anew: read the tables, then go on from offhook_cursor().';
        ELSIF after_id < feed_cut THEN
            RAISE EXCEPTION 'retention has deleted changes after the cursor'
                USING ERRCODE = 'OH410', HINT = 'Read the tables, then go on from offhook_cursor().';
        ELSIF after_id > last_id THEN
            RAISE EXCEPTION 'the cursor is beyond the end of the feed'
                USING ERRCODE = 'OH410', HINT = 'A backup was restored: read the tables, then go on from offhook_cursor().';
        END IF;
    END IF;
    RETURN QUERY
        SELECT feed_id || '.' || c.id, c.id, c.stored_at, c.account, c.key, c.kind, c.sid, c.resource,
               c.status, c.previous, c.current, c.moved, c.error_code, c.own
        FROM changes AS c WHERE c.id > after_id ORDER BY c.id LIMIT least(greatest(max_rows, 1), 10000);
END
$$;
COMMENT ON FUNCTION offhook_changes(text, integer) IS 'What was committed after a cursor, in that order';
