-- Messages about which nothing final was said, so that they are found without reading the rest.
CREATE INDEX statuses_open_messages ON statuses (first_seen) WHERE resource = 'message' AND final = 0;

-- Statuses that say nothing final for long: each is asked for at Twilio a few times. `ask_at` is NULL once Twilio never
-- said anything final.
CREATE TABLE follow_ups (
    account    TEXT NOT NULL,
    sid        TEXT NOT NULL,
    resource   TEXT NOT NULL,
    first_seen TEXT NOT NULL,
    ask_at     TEXT,
    PRIMARY KEY (account, sid)
) STRICT, WITHOUT ROWID;
CREATE INDEX follow_ups_ask ON follow_ups (account, ask_at) WHERE ask_at IS NOT NULL;
