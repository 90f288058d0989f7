-- Rows of another store's statuses, with the time at which they were stored there. They come sorted as in
-- insert_statuses.sql, and merge.sql says what becomes of a row that is there.
INSERT INTO statuses AS s (sid, resource, account, status, final, "from", "to", direction, duration,
                           error_code, terminals, first_seen, updated, position, error_position, own,
                           own_order, stored_at)
SELECT sid, resource, account, status, final, "from", "to", direction, duration, error_code, terminals,
       first_seen, updated, position, error_position, own::jsonb, own_order, stored_at
FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::boolean[], $6::text[], $7::text[], $8::text[],
    $9::bigint[], $10::text[], $11::smallint[], $12::timestamptz[], $13::timestamptz[],
    $14::bytea[], $15::bytea[], $16::text[], $17::bytea[], $18::timestamptz[]
) AS input (
    sid, resource, account, status, final, "from", "to", direction, duration, error_code, terminals,
    first_seen, updated, position, error_position, own, own_order, stored_at
)
