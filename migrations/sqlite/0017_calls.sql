-- What the callee of a call that offhook made has done, read from what was signed: pressed_1, pressed_other, human or
-- machine; NULL if the event says nothing of it.
ALTER TABLE events ADD COLUMN callee TEXT;

-- How an attempt reaches its recipient. Those of before this version are messages.
-- step: which step of its notification it is, from 1
ALTER TABLE attempts ADD COLUMN step INTEGER NOT NULL DEFAULT 1 CHECK (step > 0);
-- channel: message or call
ALTER TABLE attempts ADD COLUMN channel TEXT NOT NULL DEFAULT 'message';
-- confirm: what confirms a call: digit, human or answered; NULL for a message, which its delivery confirms
ALTER TABLE attempts ADD COLUMN confirm TEXT;
-- language, voice: what a call speaks; NULL for Twilio's own choice
ALTER TABLE attempts ADD COLUMN language TEXT;
ALTER TABLE attempts ADD COLUMN voice TEXT;
-- timeout_s, time_limit_s: how long a call rings, and how long it may last
ALTER TABLE attempts ADD COLUMN timeout_s INTEGER CHECK (timeout_s > 0);
ALTER TABLE attempts ADD COLUMN time_limit_s INTEGER CHECK (time_limit_s > 0);
-- permit_until: until when its call counts as open at the latest; NULL if it is over, or is none
ALTER TABLE attempts ADD COLUMN permit_until TEXT CHECK (permit_until IS NULL OR channel = 'call');
-- over_at: when the final status of its call was stored
ALTER TABLE attempts ADD COLUMN over_at TEXT;
-- hang_up_at, hang_ups: when its call is to be cancelled at Twilio, and how often that was tried
ALTER TABLE attempts ADD COLUMN hang_up_at TEXT;
ALTER TABLE attempts ADD COLUMN hang_ups INTEGER NOT NULL DEFAULT 0;
CREATE INDEX attempts_permits ON attempts (account, permit_until) WHERE permit_until IS NOT NULL;
CREATE INDEX attempts_hang_up ON attempts (hang_up_at) WHERE hang_up_at IS NOT NULL;
