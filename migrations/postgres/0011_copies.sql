-- How far `offhook copy` has come, written in the transaction that writes the rows: a copy that was killed goes on there.
CREATE TABLE copies (
    source     text COLLATE "C" PRIMARY KEY,
    state      bigint NOT NULL,
    step       text COLLATE "C" NOT NULL DEFAULT 'statuses',
    after      text[] COLLATE "C" NOT NULL DEFAULT '{}',
    statuses   bigint NOT NULL DEFAULT 0,
    events     bigint NOT NULL DEFAULT 0,
    duplicates bigint NOT NULL DEFAULT 0,
    began      timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended      timestamptz
);
COMMENT ON TABLE copies IS 'How far each copy of an embedded store into this database has come';
COMMENT ON COLUMN copies.source IS 'The id of the source''s change feed, which no other store has';
COMMENT ON COLUMN copies.state IS 'The last id of a change in the source: another one means that it has run again since';
COMMENT ON COLUMN copies.step IS 'What is being copied: statuses, then events, then dead_letters; done';
COMMENT ON COLUMN copies.after IS 'The last row of the step that was copied; empty before the first, and when the step is over';
COMMENT ON COLUMN copies.statuses IS 'Rows of the source''s statuses that were merged into this database''s';
COMMENT ON COLUMN copies.events IS 'Rows of the source''s events that were copied';
COMMENT ON COLUMN copies.duplicates IS 'Rows of the source''s events that this database had already';
COMMENT ON COLUMN copies.ended IS 'When all was copied; NULL before that';

-- Roles that may store events may copy them.
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
        EXECUTE format('GRANT SELECT ON copies TO %s', granted.role);
        IF granted.privilege = 'INSERT' THEN
            EXECUTE format('GRANT INSERT, UPDATE, DELETE ON copies TO %s', granted.role);
        END IF;
    END LOOP;
END
$$;
