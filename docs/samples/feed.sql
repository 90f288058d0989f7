-- Reads the change feed from a table of your own in the same Postgres: one step, to be run repeatedly.
--
--     psql "$DATABASE_URL" --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --file=feed.sql
--
-- The cursor is kept in the transaction that does the work, so each change counts once in your tables.

CREATE TABLE IF NOT EXISTS shop_cursor (one boolean PRIMARY KEY DEFAULT true CHECK (one), cursor text);
CREATE TABLE IF NOT EXISTS shop_orders (order_id text PRIMARY KEY, status text, error_code text, changes integer);
-- NULL begins with the oldest change that is kept, offhook_cursor() with the next one.
INSERT INTO shop_cursor (cursor) VALUES (NULL) ON CONFLICT DO NOTHING;

BEGIN;
-- If two sessions run this at once, the second waits and continues where the first one ended.
SELECT coalesce(cursor, '') AS after FROM shop_cursor FOR UPDATE \gset
CREATE TEMPORARY TABLE batch ON COMMIT DROP AS SELECT * FROM offhook_changes(nullif(:'after', ''), 1000);

-- Your work: here the last status of each order, which is that of the change with the greatest id. A change whose SID has
-- no status, such as a request for TwiML that came before any, says nothing of it.
INSERT INTO shop_orders AS known (order_id, status, error_code, changes)
SELECT own ->> 'order_id',
       (array_agg(current ORDER BY id DESC) FILTER (WHERE current IS NOT NULL))[1],
       (array_agg(error_code ORDER BY id DESC) FILTER (WHERE error_code IS NOT NULL))[1],
       count(*)
FROM batch WHERE own ->> 'order_id' IS NOT NULL AND sid IS NOT NULL
GROUP BY own ->> 'order_id'
ON CONFLICT (order_id) DO UPDATE SET
    status = coalesce(excluded.status, known.status),
    error_code = coalesce(excluded.error_code, known.error_code),
    changes = known.changes + excluded.changes;

UPDATE shop_cursor SET cursor = (SELECT cursor FROM batch ORDER BY id DESC LIMIT 1)
WHERE EXISTS (SELECT FROM batch);
COMMIT;
