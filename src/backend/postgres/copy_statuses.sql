-- Rows of another store's statuses, with the time at which they were stored there. They come sorted as in
-- insert_statuses.sql, and merge.sql says what becomes of a row that is there.
INSERT INTO statuses AS s (sid, resource, account, status, final, "from", "to", direction, duration,
                           error_code, terminals, first_seen, updated, position, error_position, own,
                           own_order, stored_at)
SELECT sid, resource, account, status, final, "from", "to", direction, duration, error_code, terminals,
       first_seen, updated, position, error_position, own::jsonb, own_order, stored_at
FROM (
    SELECT unnest($1::text[]) AS sid, unnest($2::text[]) AS resource, unnest($3::text[]) AS account,
           unnest($4::text[]) AS status, unnest($5::boolean[]) AS final, unnest($6::text[]) AS "from",
           unnest($7::text[]) AS "to", unnest($8::text[]) AS direction, unnest($9::bigint[]) AS duration,
           unnest($10::text[]) AS error_code, unnest($11::smallint[]) AS terminals,
           unnest($12::timestamptz[]) AS first_seen, unnest($13::timestamptz[]) AS updated,
           unnest($14::bytea[]) AS position, unnest($15::bytea[]) AS error_position, unnest($16::text[]) AS own,
           unnest($17::bytea[]) AS own_order, unnest($18::timestamptz[]) AS stored_at
) AS input
