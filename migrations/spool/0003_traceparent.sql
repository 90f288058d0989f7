-- Of which trace an event is, so that it is found again after an outage; NULL if it is of none.
ALTER TABLE spool ADD COLUMN traceparent BLOB;
