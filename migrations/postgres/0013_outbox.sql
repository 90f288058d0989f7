-- What is to be sent, and what came of it. A notification is one recipient to be reached; an attempt is one POST to a
-- provider that may have had an effect. All times are by this server's clock.
CREATE TABLE notifications (
    id              text COLLATE "C" PRIMARY KEY,
    created_at      timestamptz NOT NULL,
    token           text COLLATE "C" NOT NULL,
    idempotency_key text COLLATE "C",
    request_hash    text COLLATE "C" NOT NULL,
    purpose         text COLLATE "C" NOT NULL,
    on_unknown      text COLLATE "C" NOT NULL CHECK (on_unknown IN ('report', 'resend')),
    sender          text COLLATE "C" NOT NULL,
    account         text COLLATE "C" NOT NULL,
    "to"            text NOT NULL,
    to_hash         text COLLATE "C" NOT NULL,
    body            text NOT NULL,
    segments        integer NOT NULL CHECK (segments > 0),
    reference       text,
    deadline        timestamptz NOT NULL,
    state           text COLLATE "C" NOT NULL,
    reason          text COLLATE "C",
    settled_at      timestamptz,
    CHECK ((state = 'open') = (settled_at IS NULL))
);
CREATE UNIQUE INDEX notifications_idempotency ON notifications (token, idempotency_key)
    WHERE idempotency_key IS NOT NULL;
CREATE INDEX notifications_reference ON notifications (reference) WHERE reference IS NOT NULL;
CREATE INDEX notifications_state ON notifications (state, created_at);
CREATE INDEX notifications_to ON notifications (to_hash);
COMMENT ON TABLE notifications IS 'One recipient to be reached, with everything frozen that is sent';
COMMENT ON COLUMN notifications.token IS 'The id of the token that asked; keys are per token';
COMMENT ON COLUMN notifications.request_hash IS 'Keyed hash of the request: the same key with another request is refused';
COMMENT ON COLUMN notifications.to_hash IS 'Keyed hash of the address';
COMMENT ON COLUMN notifications.state IS 'open, confirmed, failed, unconfirmed, unknown, refused, expired or cancelled';
COMMENT ON COLUMN notifications.reason IS 'Why it ended so: a gate, the code of Twilio, or what is known';

CREATE TABLE attempts (
    id           text COLLATE "C" PRIMARY KEY,
    notification text COLLATE "C" NOT NULL REFERENCES notifications ON DELETE CASCADE,
    number       integer NOT NULL,
    created_at   timestamptz NOT NULL,
    sender       text COLLATE "C" NOT NULL,
    account      text COLLATE "C" NOT NULL,
    pace         text COLLATE "C" NOT NULL,
    to_hash      text COLLATE "C" NOT NULL,
    units        integer NOT NULL CHECK (units > 0),
    priority     integer NOT NULL,
    deadline     timestamptz NOT NULL,
    state        text COLLATE "C" NOT NULL CHECK (state IN ('due', 'claimed', 'writing', 'accepted', 'confirmed',
        'failed', 'unconfirmed', 'unknown', 'refused', 'expired', 'cancelled')),
    due_at       timestamptz NOT NULL,
    held         text COLLATE "C",
    holder       text COLLATE "C",
    send_at      timestamptz,
    lease_until  timestamptz,
    tries        integer NOT NULL DEFAULT 0,
    throttled    integer NOT NULL DEFAULT 0,
    written_at   timestamptz,
    sid          text COLLATE "C",
    reason       text COLLATE "C",
    look_at      timestamptz,
    looks        integer NOT NULL DEFAULT 0,
    settled_at   timestamptz,
    UNIQUE (notification, number),
    CHECK ((state IN ('claimed', 'writing')) = (lease_until IS NOT NULL)),
    CHECK (state NOT IN ('writing', 'accepted', 'confirmed', 'unconfirmed', 'unknown') OR written_at IS NOT NULL),
    CHECK (state NOT IN ('accepted', 'confirmed', 'unconfirmed') OR sid IS NOT NULL)
);
CREATE INDEX attempts_due ON attempts (pace, priority, deadline, created_at) WHERE state = 'due';
CREATE INDEX attempts_deadline ON attempts (deadline) WHERE state = 'due';
CREATE INDEX attempts_writing ON attempts (account) WHERE state = 'writing';
CREATE INDEX attempts_lease ON attempts (lease_until) WHERE lease_until IS NOT NULL;
CREATE INDEX attempts_look ON attempts (look_at) WHERE look_at IS NOT NULL;
CREATE INDEX attempts_sid ON attempts (sid) WHERE sid IS NOT NULL;
CREATE INDEX attempts_recipient ON attempts (to_hash, written_at) WHERE written_at IS NOT NULL;
CREATE INDEX attempts_unknown ON attempts (written_at) WHERE state = 'unknown';
COMMENT ON TABLE attempts IS 'Each POST to a provider that may have had an effect';
COMMENT ON COLUMN attempts.units IS 'What it costs of its pace: segments';
COMMENT ON COLUMN attempts.held IS 'The gate that said not now, until due_at';
COMMENT ON COLUMN attempts.send_at IS 'Its slot: those of one pace are at least units / rate apart';
COMMENT ON COLUMN attempts.lease_until IS 'Until when its process may go on; after that, claimed is due and writing unknown';
COMMENT ON COLUMN attempts.written_at IS 'When it was committed to writing for the last time, before the first byte';
COMMENT ON COLUMN attempts.look_at IS 'When it is looked at next without a callback';

-- Every SID that an attempt is proven to have: more than one is a duplicate.
CREATE TABLE attempt_sids (
    attempt text COLLATE "C" NOT NULL REFERENCES attempts ON DELETE CASCADE,
    sid     text COLLATE "C" NOT NULL,
    proof   text COLLATE "C" NOT NULL,
    at      timestamptz NOT NULL,
    PRIMARY KEY (attempt, sid)
);
CREATE INDEX attempt_sids_sid ON attempt_sids (sid);
COMMENT ON TABLE attempt_sids IS 'The SIDs of an attempt; a second one is a proven duplicate';
COMMENT ON COLUMN attempt_sids.proof IS 'answer, callback, or look-up (inferred from a list)';

CREATE TABLE paces (
    name    text COLLATE "C" PRIMARY KEY,
    free_at timestamptz NOT NULL
);
COMMENT ON TABLE paces IS 'When the next slot of each pace is free';

CREATE TABLE senders (
    name           text COLLATE "C" PRIMARY KEY,
    paused         text COLLATE "C",
    paused_at      timestamptz,
    cooldown_until timestamptz,
    cooldown_ms    bigint NOT NULL DEFAULT 0,
    unlisted       integer NOT NULL DEFAULT 0
);
COMMENT ON TABLE senders IS 'What holds each sender of the configuration';
COMMENT ON COLUMN senders.paused IS 'Why; NULL if it sends';
COMMENT ON COLUMN senders.unlisted IS 'Codes in a row that offhook does not know; five pause it';

CREATE TABLE sending_accounts (
    account        text COLLATE "C" PRIMARY KEY,
    paused         text COLLATE "C",
    paused_at      timestamptz,
    cooldown_until timestamptz,
    failures       integer NOT NULL DEFAULT 0,
    day            text COLLATE "C" NOT NULL DEFAULT '',
    day_count      bigint NOT NULL DEFAULT 0
);
COMMENT ON TABLE sending_accounts IS 'What holds each account, and how much it has sent on a day (UTC)';
COMMENT ON COLUMN sending_accounts.failures IS 'Connections in a row that failed';

-- Who must not be reached: an append-only log, of which the latest entry of an address counts.
CREATE TABLE suppressions (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    to_hash text COLLATE "C" NOT NULL,
    "to"    text,
    stop    boolean NOT NULL,
    source  text COLLATE "C" NOT NULL,
    at      timestamptz NOT NULL
);
CREATE INDEX suppressions_address ON suppressions (to_hash, id);
COMMENT ON TABLE suppressions IS 'Who must not be reached: of an address the latest entry counts';
COMMENT ON COLUMN suppressions."to" IS 'The address, until it is purged; its hash stays';

-- One row: what this deployment is, and whether it sends at all.
CREATE TABLE outbox (
    one         boolean PRIMARY KEY DEFAULT true CHECK (one),
    secret      text COLLATE "C" NOT NULL,
    suppression text COLLATE "C",
    identity    text COLLATE "C",
    held        text COLLATE "C",
    held_at     timestamptz
);
COMMENT ON TABLE outbox IS 'One row: what this deployment is, and whether it sends';
COMMENT ON COLUMN outbox.secret IS 'Keys the hashes of requests, and of addresses unless a key is configured';
COMMENT ON COLUMN outbox.suppression IS 'Check value of the configured key of addresses';
COMMENT ON COLUMN outbox.identity IS 'Hash of the public URL and the accounts that it sends for';
COMMENT ON COLUMN outbox.held IS 'Why nothing is sent; NULL if something may be';

-- Roles that were granted rights on events can do with these tables what they do: read, or store.
DO $$
DECLARE
    granted record;
BEGIN
    FOR granted IN
        SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END AS role,
               a.privilege_type AS privilege
        FROM pg_class AS c CROSS JOIN aclexplode(c.relacl) AS a
        WHERE c.oid = 'events'::regclass AND a.grantee <> c.relowner AND a.privilege_type IN ('SELECT', 'INSERT')
    LOOP
        EXECUTE format('GRANT SELECT ON notifications, attempts, attempt_sids, paces, senders, sending_accounts, '
                       'suppressions TO %s', granted.role);
        IF granted.privilege = 'INSERT' THEN
            EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON notifications, attempts, attempt_sids, paces, '
                           'senders, sending_accounts, suppressions, outbox TO %s', granted.role);
        END IF;
    END LOOP;
END
$$;
