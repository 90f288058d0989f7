-- The steps of a notification that goes by a route, frozen when it is asked for. One without a route has none.
-- route: the route by which it goes; NULL if it goes by its sender alone
ALTER TABLE notifications ADD COLUMN route TEXT;
CREATE INDEX notifications_route ON notifications (route, created_at) WHERE route IS NOT NULL;

-- despite_stop: whether it goes on after a recipient has said STOP; wait_s: how long it is waited for after it was sent;
-- state: waiting, begun, over (Twilio was asked), over_blind (it could not be), or skipped; over_at: when its time is over,
-- NULL as long as it is not sent; ask_at: when Twilio is asked for it next, NULL if it is not; ended_at: when it was decided
-- that its time is over.
CREATE TABLE steps (
    notification TEXT NOT NULL REFERENCES notifications ON DELETE CASCADE,
    number       INTEGER NOT NULL CHECK (number > 0),
    sender       TEXT NOT NULL,
    account      TEXT NOT NULL,
    pace         TEXT NOT NULL,
    to_hash      TEXT NOT NULL,
    units        INTEGER NOT NULL CHECK (units > 0),
    channel      TEXT NOT NULL,
    confirm      TEXT,
    language     TEXT,
    voice        TEXT,
    timeout_s    INTEGER CHECK (timeout_s > 0),
    time_limit_s INTEGER CHECK (time_limit_s > 0),
    despite_stop INTEGER NOT NULL DEFAULT 0 CHECK (despite_stop IN (0, 1)),
    wait_s       INTEGER NOT NULL CHECK (wait_s > 0),
    state        TEXT NOT NULL,
    begun_at     TEXT,
    over_at      TEXT,
    ask_at       TEXT,
    ended_at     TEXT,
    PRIMARY KEY (notification, number),
    CHECK ((state IN ('waiting', 'skipped')) = (begun_at IS NULL)),
    CHECK (ask_at IS NULL OR state = 'begun')
) STRICT;
CREATE INDEX steps_ask ON steps (ask_at) WHERE ask_at IS NOT NULL;

-- despite_stop: whether it is sent after its recipient has said STOP
ALTER TABLE attempts ADD COLUMN despite_stop INTEGER NOT NULL DEFAULT 0 CHECK (despite_stop IN (0, 1));
