-- The history: each key once. The events come sorted by key, so that two workers lock rows in one
-- order and cannot deadlock.
INSERT INTO events (key, kind, account, sid, resource, status, rank, sequence, occurred_at,
                    received_at, format, query, params, body)
SELECT key, kind, account, sid, resource, status, rank, sequence, occurred_at,
       received_at, format, query, params::jsonb, body
FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::smallint[],
    $8::bigint[], $9::timestamptz[], $10::timestamptz[], $11::text[], $12::text[], $13::text[],
    $14::bytea[]
) AS input (
    key, kind, account, sid, resource, status, rank,
    sequence, occurred_at, received_at, format, query, params,
    body
)
ON CONFLICT (key) DO NOTHING
RETURNING key
