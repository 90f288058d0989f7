-- The zone that the recipient of a notification is in, for quiet hours: America/New_York. NULL where the request did not say
-- it, and in older rows.
ALTER TABLE notifications ADD COLUMN time_zone TEXT;
