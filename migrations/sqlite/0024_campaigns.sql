-- Many notifications that are asked for at once. A recipient is planned here, with everything frozen that is sent, and
-- becomes a notification when it is handed over: shortly before its turn.
-- touched_at: when the list was last read on; one that is not is given up; plan: the steps of each notification, as
-- JSON; body: the template of the text; deadline: after this nothing is sent any more; NULL until it starts, unless
-- it was asked for; cost_cap: what it may cost at most, in millionths of the currency; spent: what it has cost by the
-- prices that are configured, in millionths of the currency; doubles: rows of the list that named a recipient again;
-- invalid: rows of the list that cannot be sent to; handed_over: recipients that have become notifications; reason:
-- why it has stopped itself; evidence: what it has stopped itself for, as JSON; judged_from: outcomes before this do
-- not stop it: a person has resumed it; trial_until: when it goes on beyond its first recipients, if too few of them
-- have an outcome before; swept: the last notification that was cancelled with it; ~ once all are,
-- and all recipients that waited.
CREATE TABLE campaigns (
    id           TEXT PRIMARY KEY,
    created_at   TEXT NOT NULL,
    touched_at   TEXT NOT NULL,
    token        TEXT NOT NULL,
    name         TEXT NOT NULL,
    purpose      TEXT NOT NULL,
    on_unknown   TEXT NOT NULL CHECK (on_unknown IN ('report', 'resend')),
    sender       TEXT NOT NULL,
    route        TEXT,
    plan         TEXT NOT NULL,
    body         TEXT NOT NULL,
    subject      TEXT,
    html         TEXT,
    deadline     TEXT,
    currency     TEXT,
    cost_cap     INTEGER,
    spent        INTEGER NOT NULL DEFAULT 0,
    recipients   INTEGER NOT NULL DEFAULT 0,
    doubles      INTEGER NOT NULL DEFAULT 0,
    invalid      INTEGER NOT NULL DEFAULT 0,
    handed_over  INTEGER NOT NULL DEFAULT 0,
    state        TEXT NOT NULL CHECK (state IN ('planning', 'draft', 'running', 'paused', 'stopped', 'cancelled',
        'finished')),
    reason       TEXT,
    evidence     TEXT,
    started_at   TEXT,
    judged_from  TEXT,
    trial_until  TEXT,
    trial_over   INTEGER NOT NULL DEFAULT 0 CHECK (trial_over IN (0, 1)),
    swept        TEXT NOT NULL DEFAULT '',
    finished_at  TEXT,
    CHECK (state NOT IN ('running', 'paused', 'stopped') OR started_at IS NOT NULL AND deadline IS NOT NULL),
    CHECK (state <> 'finished' OR finished_at IS NOT NULL)
) STRICT;
CREATE INDEX campaigns_created ON campaigns (created_at, id);
CREATE INDEX campaigns_open ON campaigns (id) WHERE finished_at IS NULL;

-- number: the line of the list; key: the application's own name for it; costs: for each step its units and its price,
-- in millionths of the currency, as JSON; due_at: when it is handed over at the earliest; held: the gate that said
-- not now, until due_at; reason: the gate that said never; treated: whether [privacy] was
-- applied to one that ended before it was handed over.
CREATE TABLE recipients (
    campaign     TEXT NOT NULL REFERENCES campaigns ON DELETE CASCADE,
    number       INTEGER NOT NULL CHECK (number > 0),
    key          TEXT,
    "to"         TEXT,
    to_hash      TEXT NOT NULL,
    email        TEXT,
    email_hash   TEXT,
    time_zone    TEXT,
    body         TEXT,
    subject      TEXT,
    html         TEXT,
    costs        TEXT NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('waiting', 'handed_over', 'refused', 'expired', 'cancelled')),
    due_at       TEXT NOT NULL,
    held         TEXT,
    reason       TEXT,
    notification TEXT,
    settled_at   TEXT,
    treated      INTEGER NOT NULL DEFAULT 0 CHECK (treated IN (0, 1)),
    PRIMARY KEY (campaign, number),
    CHECK ((state = 'handed_over') = (notification IS NOT NULL)),
    CHECK (state <> 'waiting' OR "to" IS NOT NULL AND body IS NOT NULL)
) STRICT;
CREATE UNIQUE INDEX recipients_address ON recipients (to_hash, campaign);
CREATE INDEX recipients_email ON recipients (email_hash) WHERE email_hash IS NOT NULL;
CREATE INDEX recipients_waiting ON recipients (campaign, due_at, number) WHERE state = 'waiting';
CREATE INDEX recipients_untreated ON recipients (settled_at) WHERE state IN ('refused', 'expired', 'cancelled') AND NOT treated;

-- Rows of the list of a campaign that cannot be sent to, and why; not what they said.
CREATE TABLE invalid_rows (
    campaign TEXT NOT NULL REFERENCES campaigns ON DELETE CASCADE,
    line     INTEGER NOT NULL,
    reason   TEXT NOT NULL,
    PRIMARY KEY (campaign, line)
) STRICT;

-- campaign: the campaign that asked for it; NULL if it was asked for alone
ALTER TABLE notifications ADD COLUMN campaign TEXT;
CREATE INDEX notifications_campaign ON notifications (campaign, settled_at, state) WHERE campaign IS NOT NULL;
ALTER TABLE attempts ADD COLUMN campaign TEXT;
-- price: what it costs by the prices that are configured, in millionths of the currency
ALTER TABLE attempts ADD COLUMN price INTEGER;
CREATE INDEX attempts_campaign ON attempts (campaign, state) WHERE campaign IS NOT NULL AND settled_at IS NULL;
ALTER TABLE steps ADD COLUMN price INTEGER;
