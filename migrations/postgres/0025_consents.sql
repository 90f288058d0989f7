-- Who has agreed to be sent marketing: an append-only log, of which the latest entry of an address counts, by when the
-- person said it.
CREATE TABLE consents (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    to_hash   text COLLATE "C" NOT NULL,
    "to"      text,
    purpose   text COLLATE "C" NOT NULL,
    given     boolean NOT NULL,
    source    text NOT NULL,
    shown     text,
    at        timestamptz NOT NULL,
    stored_at timestamptz NOT NULL,
    treated   boolean NOT NULL DEFAULT false,
    CHECK (NOT given OR shown IS NOT NULL)
);
CREATE INDEX consents_address ON consents (to_hash, purpose, at);
CREATE INDEX consents_untreated ON consents (id) WHERE NOT treated AND "to" IS NOT NULL;
COMMENT ON TABLE consents IS 'Who has agreed to be sent marketing: of an address the latest entry counts';
COMMENT ON COLUMN consents."to" IS 'The address, until it is purged; its hash stays';
COMMENT ON COLUMN consents.given IS 'Whether the person agreed, or withdrew it';
COMMENT ON COLUMN consents.source IS 'Where it comes from, in your own words';
COMMENT ON COLUMN consents.shown IS 'The text to which the person agreed; NULL of what is withdrawn';
COMMENT ON COLUMN consents.at IS 'When the person said it';
COMMENT ON COLUMN consents.treated IS 'Whether the address is reduced to what [privacy] lets be kept';

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
        EXECUTE format('GRANT SELECT ON consents TO %s', granted.role);
        IF granted.privilege = 'INSERT' THEN
            EXECUTE format('GRANT INSERT, UPDATE, DELETE ON consents TO %s', granted.role);
        END IF;
    END LOOP;
END
$$;
