-- `query`, `params` and `body` of an event are what was signed, but for what [privacy] treats.
-- Nothing to do here; in Postgres the comments of the columns say it.
SELECT 1;
