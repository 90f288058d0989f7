-- Whether [privacy] was applied to a notification that is settled, which is done once nothing is sent or looked for.
ALTER TABLE notifications ADD COLUMN treated INTEGER NOT NULL DEFAULT 0;
CREATE INDEX notifications_untreated ON notifications (settled_at) WHERE state <> 'open' AND NOT treated;
