-- Every event once. The unique key is what decides about duplicates.
-- COLLATE "C": bytewise order, the same as the program's, and the cheaper index.
CREATE TABLE events (
    key         text COLLATE "C" PRIMARY KEY,
    kind        text NOT NULL,
    account     text COLLATE "C" NOT NULL,
    sid         text COLLATE "C",
    resource    text,
    status      text COLLATE "C",
    rank        smallint,
    sequence    bigint,
    occurred_at timestamptz,
    received_at timestamptz NOT NULL,
    format      text NOT NULL,
    query       text NOT NULL,
    params      jsonb NOT NULL,
    body        bytea NOT NULL
);

CREATE INDEX events_sid ON events (sid) WHERE sid IS NOT NULL;
-- Rows arrive nearly in this order, so a block range index of a few pages does.
CREATE INDEX events_received_at ON events USING brin (received_at);

COMMENT ON TABLE events IS 'Every callback of Twilio once, as it was signed';
COMMENT ON COLUMN events.key IS 'Identity: <CallSid>-<CallStatus> and the like';
COMMENT ON COLUMN events.account IS 'The account whose secret signed it';
COMMENT ON COLUMN events.query IS 'The query of the callback URL, with identifiers of your own';
COMMENT ON COLUMN events.params IS 'The parameters; a repeated one is an array; NUL and invalid UTF-8 are U+FFFD';
COMMENT ON COLUMN events.body IS 'The parameters byte for byte';

-- One row per SID: what is true now.
CREATE TABLE statuses (
    sid            text COLLATE "C" PRIMARY KEY,
    resource       text NOT NULL,
    account        text COLLATE "C" NOT NULL,
    status         text COLLATE "C" NOT NULL,
    final          boolean NOT NULL,
    "from"         text COLLATE "C",
    "to"           text COLLATE "C",
    duration       bigint,
    error_code     text COLLATE "C",
    terminals      smallint NOT NULL,
    contradicted   boolean NOT NULL GENERATED ALWAYS AS ((terminals & (terminals - 1)) <> 0) STORED,
    first_seen     timestamptz NOT NULL,
    updated        timestamptz NOT NULL,
    position       bytea NOT NULL,
    error_position bytea
);

COMMENT ON TABLE statuses IS 'The current status of each call, message, recording, conference and transcription';
COMMENT ON COLUMN statuses.duration IS 'Seconds';
COMMENT ON COLUMN statuses.terminals IS 'The terminal statuses reported, one bit each';
COMMENT ON COLUMN statuses.contradicted IS 'Terminal statuses that exclude each other were reported';
COMMENT ON COLUMN statuses.position IS 'Rank, sequence, time and status as bytes: the greatest wins';

CREATE VIEW calls AS
    SELECT sid, account, status, final, "from", "to", duration, error_code, first_seen, updated
    FROM statuses WHERE resource = 'call';

CREATE VIEW messages AS
    SELECT sid, account, status, final, "from", "to", duration, error_code, first_seen, updated
    FROM statuses WHERE resource = 'message';
