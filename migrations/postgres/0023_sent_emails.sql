-- What of a notification only its email has.
ALTER TABLE notifications
    ADD COLUMN email text COLLATE "C",
    ADD COLUMN subject text,
    ADD COLUMN html text;
COMMENT ON COLUMN notifications.email IS 'The address of its email, if it has a number as well; NULL if "to" is the address, or no email may be sent';
COMMENT ON COLUMN notifications.subject IS 'The subject of its email';
COMMENT ON COLUMN notifications.html IS 'The text of its email as HTML';
COMMENT ON COLUMN attempts.channel IS 'message, call or email';
