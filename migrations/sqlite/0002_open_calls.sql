-- Calls about which nothing final was said, so that they can be counted without reading the rest.
CREATE INDEX statuses_open_calls ON statuses (first_seen) WHERE resource = 'call' AND final = 0;
