-- Whether [privacy] was applied to a notification that is settled.
ALTER TABLE notifications ADD COLUMN treated boolean NOT NULL DEFAULT false;
CREATE INDEX notifications_untreated ON notifications (settled_at) WHERE state <> 'open' AND NOT treated;
COMMENT ON COLUMN notifications.treated IS 'Whether [privacy] was applied, which is done once nothing is sent or looked for';
