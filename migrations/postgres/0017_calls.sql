-- What the callee of a call that offhook made has done, read from what was signed.
ALTER TABLE events ADD COLUMN callee text COLLATE "C";
COMMENT ON COLUMN events.callee IS 'pressed_1, pressed_other, human or machine; NULL if the event says nothing of it';

-- How an attempt reaches its recipient. Those of before this version are messages.
ALTER TABLE attempts
    ADD COLUMN step integer NOT NULL DEFAULT 1 CHECK (step > 0),
    ADD COLUMN channel text COLLATE "C" NOT NULL DEFAULT 'message',
    ADD COLUMN confirm text COLLATE "C",
    ADD COLUMN language text,
    ADD COLUMN voice text,
    ADD COLUMN timeout_s integer CHECK (timeout_s > 0),
    ADD COLUMN time_limit_s integer CHECK (time_limit_s > 0),
    ADD COLUMN permit_until timestamptz CHECK (permit_until IS NULL OR channel = 'call'),
    ADD COLUMN over_at timestamptz,
    ADD COLUMN hang_up_at timestamptz,
    ADD COLUMN hang_ups integer NOT NULL DEFAULT 0;
CREATE INDEX attempts_permits ON attempts (account, permit_until) WHERE permit_until IS NOT NULL;
CREATE INDEX attempts_hang_up ON attempts (hang_up_at) WHERE hang_up_at IS NOT NULL;
COMMENT ON COLUMN attempts.step IS 'Which step of its notification it is, from 1';
COMMENT ON COLUMN attempts.channel IS 'message or call';
COMMENT ON COLUMN attempts.confirm IS 'What confirms a call: digit, human or answered; NULL for a message, which its delivery confirms';
COMMENT ON COLUMN attempts.language IS 'What language a call speaks; NULL for Twilio''s own choice';
COMMENT ON COLUMN attempts.voice IS 'With which voice; NULL for Twilio''s own choice';
COMMENT ON COLUMN attempts.timeout_s IS 'How long a call rings';
COMMENT ON COLUMN attempts.time_limit_s IS 'How long it may last';
COMMENT ON COLUMN attempts.permit_until IS 'Until when its call counts as open at the latest; NULL if it is over, or is none';
COMMENT ON COLUMN attempts.over_at IS 'When the final status of its call was stored';
COMMENT ON COLUMN attempts.hang_up_at IS 'When its call is to be cancelled at Twilio; NULL if it is not';
COMMENT ON COLUMN attempts.hang_ups IS 'How often that was tried';
