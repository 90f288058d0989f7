-- What fresh events say of their SIDs, one row per SID and account. The rows come sorted by both, so that two workers lock
-- rows in one order and cannot deadlock. merge.sql says what becomes of a row that is there.
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
