-- Rows of another store's events, as they are there: text but for the body. They come sorted as in insert.sql, and an
-- event that is here already stays as it is. A new one leaves a wake as it does there.
WITH new AS (
    INSERT INTO events (key, kind, account, sid, resource, status, rank, sequence, occurred_at,
                        received_at, format, query, params, body, about_account, call_sid, fingerprint,
                        method, route, idempotency_token, own, attempt, callee, stored_at)
    SELECT key, kind, account, sid, resource, status, rank::smallint, sequence::bigint, occurred_at::timestamptz,
           received_at::timestamptz, format, query, params::jsonb, body, about_account, call_sid, fingerprint::bigint,
           method, route, idempotency_token, own::jsonb, attempt, callee, stored_at::timestamptz
    FROM (
        SELECT unnest($1::text[]) AS key, unnest($2::text[]) AS kind, unnest($3::text[]) AS account,
               unnest($4::text[]) AS sid, unnest($5::text[]) AS resource, unnest($6::text[]) AS status,
               unnest($7::text[]) AS rank, unnest($8::text[]) AS sequence, unnest($9::text[]) AS occurred_at,
               unnest($10::text[]) AS received_at, unnest($11::text[]) AS format, unnest($12::text[]) AS query,
               unnest($13::text[]) AS params, unnest($14::bytea[]) AS body, unnest($15::text[]) AS about_account,
               unnest($16::text[]) AS call_sid, unnest($17::text[]) AS fingerprint, unnest($18::text[]) AS method,
               unnest($19::text[]) AS route, unnest($20::text[]) AS idempotency_token, unnest($21::text[]) AS own,
               unnest($22::text[]) AS attempt, unnest($23::text[]) AS callee, unnest($24::text[]) AS stored_at
    ) AS input
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
    AND EXISTS (SELECT FROM attempt_sids)
)
SELECT count(*) FROM new
