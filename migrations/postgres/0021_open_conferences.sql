-- Conferences about which nothing final was said, so that their participants are counted without reading the rest. On a
-- large table the index can be made beforehand under this name, CONCURRENTLY.
CREATE INDEX IF NOT EXISTS statuses_open_conferences ON statuses (first_seen) WHERE resource = 'conference' AND NOT final;
