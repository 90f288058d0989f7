-- Emails, as there are calls and messages: one row for each recipient of each mail.
CREATE VIEW emails AS
    SELECT sid, account, status, final, "to", error_code, first_seen, updated, contradicted
    FROM statuses WHERE resource = 'email';
