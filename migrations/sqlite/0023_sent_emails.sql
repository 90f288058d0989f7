-- What of a notification only its email has.
-- email: the address of its email, if it has a number as well; NULL if "to" is the address, or no email may be sent
ALTER TABLE notifications ADD COLUMN email TEXT;
-- subject, html: the subject and the text as HTML; NULL if it has none
ALTER TABLE notifications ADD COLUMN subject TEXT;
ALTER TABLE notifications ADD COLUMN html TEXT;
