-- A cancellation is kept by itself: what was on its way then is not requested again, whatever is found out about it
-- before its answer comes.
-- cancelled_at: when it was cancelled; NULL if it was not, or had ended before
ALTER TABLE notifications ADD COLUMN cancelled_at TEXT;
UPDATE notifications SET cancelled_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now') WHERE state = 'open' AND reason = 'cancelled';
