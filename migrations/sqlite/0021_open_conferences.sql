-- Conferences about which nothing final was said, so that their participants are counted without reading the rest.
CREATE INDEX statuses_open_conferences ON statuses (first_seen) WHERE resource = 'conference' AND final = 0;
