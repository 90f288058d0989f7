-- The history: each event once. The events come sorted by key and account, so that two workers lock
-- rows in one order and cannot deadlock. A new one that belongs to an attempt, by the id that it carries or by its SID,
-- leaves a wake, which can neither fail nor wait. An event that carries no id is one that Twilio sends elsewhere than to the
-- attempt's own callback URL: to that of a number or of a Messaging Service, or as an event stream.
WITH new AS (
    INSERT INTO events (key, kind, account, sid, resource, status, rank, sequence, occurred_at,
                        received_at, format, query, params, body, about_account, call_sid, fingerprint,
                        method, route, idempotency_token, own, attempt, callee)
    SELECT key, kind, account, sid, resource, status, rank, sequence, occurred_at,
           received_at, format, query, params::jsonb, body, about_account, call_sid, fingerprint,
           method, route, idempotency_token, own::jsonb, attempt, callee
    FROM unnest(
        $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::smallint[],
        $8::bigint[], $9::timestamptz[], $10::timestamptz[], $11::text[], $12::text[], $13::text[],
        $14::bytea[], $15::text[], $16::text[], $17::bigint[], $18::text[], $19::text[], $20::text[],
        $21::text[], $22::text[], $23::text[]
    ) AS input (
        key, kind, account, sid, resource, status, rank,
        sequence, occurred_at, received_at, format, query, params,
        body, about_account, call_sid, fingerprint, method, route, idempotency_token, own, attempt,
        callee
    )
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
)
SELECT key, account FROM new
