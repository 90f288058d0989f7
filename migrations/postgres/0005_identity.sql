-- Another account can sign a callback about the same SID. That is another event, and another row: it
-- must neither take the name of this account's event nor touch its status.
ALTER TABLE events
    ADD COLUMN about_account     text COLLATE "C",
    ADD COLUMN call_sid          text COLLATE "C",
    ADD COLUMN fingerprint       bigint,
    ADD COLUMN method            text,
    ADD COLUMN route             text,
    ADD COLUMN idempotency_token text,
    DROP CONSTRAINT events_pkey,
    ADD PRIMARY KEY (key, account);
ALTER TABLE statuses
    DROP CONSTRAINT statuses_pkey,
    ADD PRIMARY KEY (sid, account);

-- Recordings, transcriptions and participants belong to the timeline of their call.
UPDATE events SET call_sid = params ->> 'CallSid'
WHERE jsonb_typeof(params -> 'CallSid') = 'string'
  AND params ->> 'CallSid' IS DISTINCT FROM sid
  AND params ->> 'CallSid' ~ '^[A-Za-z0-9._-]{1,64}$';
CREATE INDEX events_call_sid ON events (call_sid) WHERE call_sid IS NOT NULL;

COMMENT ON COLUMN events.key IS 'Name within the account: <CallSid>-<CallStatus> and the like';
COMMENT ON COLUMN events.account IS 'The account whose secret signed it, or the sub-account it signed for';
COMMENT ON COLUMN events.about_account IS 'Another account that it names: it moves no status then';
COMMENT ON COLUMN events.call_sid IS 'The call that it names besides sid';
COMMENT ON COLUMN events.fingerprint IS 'Hash of what it says; NULL in rows of before 0.2';
COMMENT ON COLUMN events.method IS 'GET or POST; NULL in rows of before 0.2';
COMMENT ON COLUMN events.route IS 'The route it came to; NULL in rows of before 0.2';
COMMENT ON COLUMN events.idempotency_token IS 'I-Twilio-Idempotency-Token, which is not signed';
COMMENT ON TABLE statuses IS 'The current status of each call, message, recording, conference and transcription of each account';
