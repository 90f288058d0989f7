-- The current status of each SID: `CurrentStatus::merge` between the row that is there and what the fresh
-- events say, one row per SID and account. Those come sorted by both, so that two workers lock rows in one order
-- and cannot deadlock.
INSERT INTO statuses AS s (sid, resource, account, status, final, "from", "to", direction, duration,
                           error_code, terminals, first_seen, updated, position, error_position, own,
                           own_order)
SELECT sid, resource, account, status, final, "from", "to", direction, duration, error_code, terminals,
       first_seen, updated, position, error_position, own::jsonb, own_order
FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::boolean[], $6::text[], $7::text[], $8::text[],
    $9::bigint[], $10::text[], $11::smallint[], $12::timestamptz[], $13::timestamptz[],
    $14::bytea[], $15::bytea[], $16::text[], $17::bytea[]
) AS input (
    sid, resource, account, status, final, "from", "to", direction, duration, error_code, terminals,
    first_seen, updated, position, error_position, own, own_order
)
ON CONFLICT (sid, account) DO UPDATE SET
    status = CASE WHEN excluded.position > s.position THEN excluded.status ELSE s.status END,
    final = CASE WHEN excluded.position > s.position THEN excluded.final ELSE s.final END,
    position = greatest(s.position, excluded.position),
    previous_position = s.position,
    "from" = greatest(s."from", excluded."from"),
    "to" = greatest(s."to", excluded."to"),
    direction = greatest(s.direction, excluded.direction),
    duration = greatest(s.duration, excluded.duration),
    error_code = CASE WHEN s.error_position IS NULL
                        OR (excluded.error_position, excluded.error_code)
                           > (s.error_position, s.error_code)
                      THEN excluded.error_code ELSE s.error_code END,
    error_position = greatest(s.error_position, excluded.error_position),
    own = CASE WHEN s.own_order IS NULL OR excluded.own_order > s.own_order
               THEN excluded.own ELSE s.own END,
    own_order = greatest(s.own_order, excluded.own_order),
    terminals = s.terminals | excluded.terminals,
    first_seen = least(s.first_seen, excluded.first_seen),
    updated = greatest(s.updated, excluded.updated),
    stored_at = greatest(s.stored_at, clock_timestamp())
RETURNING sid, account, contradicted, position, previous_position
