-- One statement for a batch: history and current status together or not at all.
-- The events come sorted by key and the statuses sorted by SID, so that two workers lock rows in
-- one order and cannot deadlock.
WITH input AS (
    SELECT * FROM unnest(
        $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::smallint[],
        $8::bigint[], $9::timestamptz[], $10::timestamptz[], $11::text[], $12::text[], $13::text[],
        $14::bytea[], $15::bytea[], $16::boolean[], $17::text[], $18::text[], $19::bigint[],
        $20::text[], $21::smallint[]
    ) AS t (
        key, kind, account, sid, resource, status, rank,
        sequence, occurred_at, received_at, format, query, params,
        body, position, final, "from", "to", duration,
        error_code, terminals
    )
), fresh AS (
    INSERT INTO events (key, kind, account, sid, resource, status, rank, sequence, occurred_at,
                        received_at, format, query, params, body)
    SELECT key, kind, account, sid, resource, status, rank, sequence, occurred_at,
           received_at, format, query, params::jsonb, body
    FROM input
    ON CONFLICT (key) DO NOTHING
    RETURNING key
), folded AS (
    -- Of one SID's fresh events, what `Current::merge` would make.
    SELECT sid,
           min(resource) AS resource,
           max(account COLLATE "C") AS account,
           (array_agg(status ORDER BY position DESC))[1] AS status,
           (array_agg(final ORDER BY position DESC))[1] AS final,
           max("from" COLLATE "C") AS "from",
           max("to" COLLATE "C") AS "to",
           max(duration) AS duration,
           (array_agg(error_code ORDER BY position DESC, error_code COLLATE "C" DESC)
               FILTER (WHERE error_code IS NOT NULL))[1] AS error_code,
           (array_agg(position ORDER BY position DESC)
               FILTER (WHERE error_code IS NOT NULL))[1] AS error_position,
           bit_or(terminals) AS terminals,
           min(received_at) AS first_seen,
           max(received_at) AS updated,
           (array_agg(position ORDER BY position DESC))[1] AS position
    FROM input
    WHERE position IS NOT NULL AND key IN (SELECT key FROM fresh)
    GROUP BY sid
), merged AS (
    INSERT INTO statuses AS s (sid, resource, account, status, final, "from", "to", duration,
                               error_code, terminals, first_seen, updated, position,
                               error_position)
    SELECT sid, resource, account, status, final, "from", "to", duration,
           error_code, terminals, first_seen, updated, position, error_position
    FROM folded
    ORDER BY sid COLLATE "C"
    ON CONFLICT (sid) DO UPDATE SET
        account = greatest(s.account, excluded.account),
        status = CASE WHEN excluded.position > s.position
                      THEN excluded.status ELSE s.status END,
        final = CASE WHEN excluded.position > s.position
                     THEN excluded.final ELSE s.final END,
        position = greatest(s.position, excluded.position),
        "from" = greatest(s."from", excluded."from"),
        "to" = greatest(s."to", excluded."to"),
        duration = greatest(s.duration, excluded.duration),
        error_code = CASE WHEN s.error_position IS NULL
                            OR (excluded.error_position, excluded.error_code)
                               > (s.error_position, s.error_code)
                          THEN excluded.error_code ELSE s.error_code END,
        error_position = greatest(s.error_position, excluded.error_position),
        terminals = s.terminals | excluded.terminals,
        first_seen = least(s.first_seen, excluded.first_seen),
        updated = greatest(s.updated, excluded.updated)
    RETURNING sid, contradicted, position
)
SELECT coalesce((SELECT array_agg(key) FROM fresh), '{}') AS fresh,
       (SELECT count(*) FROM merged JOIN folded USING (sid)
        WHERE merged.contradicted AND folded.terminals <> 0) AS contradicted,
       (SELECT count(*) FROM merged JOIN folded USING (sid)
        WHERE merged.position > folded.position) AS late
