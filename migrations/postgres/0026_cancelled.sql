-- A cancellation is kept by itself: what was on its way then is not requested again, whatever is found out about it
-- before its answer comes.
ALTER TABLE notifications ADD COLUMN cancelled_at timestamptz;
UPDATE notifications SET cancelled_at = clock_timestamp() WHERE state = 'open' AND reason = 'cancelled';
COMMENT ON COLUMN notifications.cancelled_at IS 'When it was cancelled; NULL if it was not, or had ended before';
