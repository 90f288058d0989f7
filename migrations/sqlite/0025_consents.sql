-- Who has agreed to be sent marketing: an append-only log, of which the latest entry of an address counts, by when the
-- person said it.
-- to: the address, until it is purged; its hash stays. given: whether the person agreed, or withdrew it. source: where it
-- comes from, in your own words. shown: the text to which the person agreed; NULL of what is withdrawn. at: when the person
-- said it. treated: whether the address is reduced to what [privacy] lets be kept.
CREATE TABLE consents (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    to_hash   TEXT NOT NULL,
    "to"      TEXT,
    purpose   TEXT NOT NULL,
    given     INTEGER NOT NULL CHECK (given IN (0, 1)),
    source    TEXT NOT NULL,
    shown     TEXT,
    at        TEXT NOT NULL,
    stored_at TEXT NOT NULL,
    treated   INTEGER NOT NULL DEFAULT 0 CHECK (treated IN (0, 1)),
    CHECK (NOT given OR shown IS NOT NULL)
) STRICT;
CREATE INDEX consents_address ON consents (to_hash, purpose, at);
CREATE INDEX consents_untreated ON consents (id) WHERE NOT treated AND "to" IS NOT NULL;
