-- The history: each event once. The events come sorted by key and account, so that two workers lock
-- rows in one order and cannot deadlock. A new one that belongs to an attempt, by the id that it carries or by its SID,
-- leaves a wake, which can neither fail nor wait. An event that carries no id is one that Twilio sends elsewhere than to the
-- attempt's own callback URL: to that of a number or of a Messaging Service, or as an event stream.
-- The arrays are unnested in a list of columns, where row follows row. In FROM, Postgres would write each array to a store
-- of tuples of its own before the first row, and read all of them back.
WITH new AS (
    INSERT INTO events (key, kind, account, sid, resource, status, rank, sequence, occurred_at,
                        received_at, format, query, params, body, about_account, call_sid, fingerprint,
                        method, route, idempotency_token, own, attempt, callee)
    SELECT key, kind, account, sid, resource, status, rank, sequence, occurred_at,
           received_at, format, query, params::jsonb, body, about_account, call_sid, fingerprint,
           method, route, idempotency_token, own::jsonb, attempt, callee
    FROM (
        SELECT unnest($1::text[]) AS key, unnest($2::text[]) AS kind, unnest($3::text[]) AS account,
               unnest($4::text[]) AS sid, unnest($5::text[]) AS resource, unnest($6::text[]) AS status,
               unnest($7::smallint[]) AS rank, unnest($8::bigint[]) AS sequence,
               unnest($9::timestamptz[]) AS occurred_at, unnest($10::timestamptz[]) AS received_at,
               unnest($11::text[]) AS format, unnest($12::text[]) AS query, unnest($13::text[]) AS params,
               unnest($14::bytea[]) AS body, unnest($15::text[]) AS about_account, unnest($16::text[]) AS call_sid,
               unnest($17::bigint[]) AS fingerprint, unnest($18::text[]) AS method, unnest($19::text[]) AS route,
               unnest($20::text[]) AS idempotency_token, unnest($21::text[]) AS own, unnest($22::text[]) AS attempt,
               unnest($23::text[]) AS callee
    ) AS input
    ON CONFLICT (key, account) DO NOTHING
    RETURNING key, account, sid, resource, attempt
), woken AS (
    INSERT INTO wakes (attempt, sid, account)
    SELECT attempt, sid, account FROM new WHERE attempt IS NOT NULL
    UNION ALL
    -- Written so that each is looked up by an index, whatever the planner believes of tables that were empty so far.
    SELECT s.attempt, new.sid, new.account
    FROM new CROSS JOIN LATERAL (SELECT attempt FROM attempt_sids WHERE sid = new.sid OFFSET 0) AS s
    WHERE new.attempt IS NULL AND new.resource IN ('message', 'call')
    AND new.account = (SELECT account FROM attempts WHERE id = s.attempt)
    -- Asked once, and not for each row: where nothing is sent, there is nothing to look up.
    AND EXISTS (SELECT FROM attempt_sids)
), counted AS (
    SELECT count(*) = cardinality($1::text[]) AS all_new FROM new
)
-- Which are new; as a rule all of them, and then one row says so, which has no key.
SELECT key, account FROM new WHERE NOT (SELECT all_new FROM counted)
UNION ALL
SELECT NULL, NULL FROM counted WHERE all_new
