-- Emails, as there are calls and messages: one row for each recipient of each mail.
CREATE VIEW emails AS
    SELECT sid, account, status, final, "to", error_code, first_seen, updated, contradicted
    FROM statuses WHERE resource = 'email';
COMMENT ON VIEW emails IS 'The current status of each email, as SendGrid reports it';
COMMENT ON TABLE statuses IS
    'The current status of each call, message, recording, conference, transcription and email';

-- Roles that may read messages may read emails.
DO $$
DECLARE
    reader text;
BEGIN
    FOR reader IN
        SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END
        FROM pg_class AS c CROSS JOIN aclexplode(c.relacl) AS a
        WHERE c.oid = 'messages'::regclass AND a.grantee <> c.relowner AND a.privilege_type = 'SELECT'
    LOOP
        EXECUTE format('GRANT SELECT ON emails TO %s', reader);
    END LOOP;
END
$$;
