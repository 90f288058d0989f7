-- Rows of another store's events, as they are there: text but for the body. They come sorted as in insert.sql, and an
-- event that is here already stays as it is. A new one leaves a wake as it does there.
WITH new AS (
    INSERT INTO events (key, kind, account, sid, resource, status, rank, sequence, occurred_at,
                        received_at, format, query, params, body, about_account, call_sid, fingerprint,
                        method, route, idempotency_token, own, attempt, callee, stored_at)
    SELECT key, kind, account, sid, resource, status, rank::smallint, sequence::bigint, occurred_at::timestamptz,
           received_at::timestamptz, format, query, params::jsonb, body, about_account, call_sid, fingerprint::bigint,
           method, route, idempotency_token, own::jsonb, attempt, callee, stored_at::timestamptz
    FROM unnest(
        $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
        $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::bytea[], $15::text[],
        $16::text[], $17::text[], $18::text[], $19::text[], $20::text[], $21::text[], $22::text[], $23::text[],
        $24::text[]
    ) AS input (
        key, kind, account, sid, resource, status, rank,
        sequence, occurred_at, received_at, format, query, params,
        body, about_account, call_sid, fingerprint, method, route, idempotency_token, own, attempt,
        callee, stored_at
    )
    ON CONFLICT (key, account) DO NOTHING
    RETURNING sid, account, resource, attempt
), woken AS (
    INSERT INTO wakes (attempt, sid, account)
    SELECT attempt, sid, account FROM new WHERE attempt IS NOT NULL
    UNION ALL
    SELECT s.attempt, new.sid, new.account
    FROM new CROSS JOIN LATERAL (SELECT attempt FROM attempt_sids WHERE sid = new.sid OFFSET 0) AS s
    WHERE new.attempt IS NULL AND new.resource IN ('message', 'call')
    AND new.account = (SELECT account FROM attempts WHERE id = s.attempt)
)
SELECT count(*) FROM new
