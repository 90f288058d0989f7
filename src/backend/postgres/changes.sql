-- The change feed: one row per fresh event. The last statement of the transaction, so that the lock under which ids
-- are taken is held for as short as can be: until the commit, lest a reader see a greater id before a smaller one.
-- Ids are taken after the lock, which each row is joined to.
WITH held AS MATERIALIZED (
    SELECT pg_advisory_xact_lock(6033425111904),
           CASE WHEN $1 THEN pg_notify('offhook_changes', '') END
)
INSERT INTO changes (id, account, key, kind, sid, resource, status, previous, current, moved, error_code, own)
SELECT nextval('changes_id_seq'), input.account, input.key, input.kind, input.sid, input.resource, input.status,
       input.previous, input.current, input.moved, input.error_code, input.own::jsonb
FROM held CROSS JOIN (
    SELECT unnest($2::text[]) AS account, unnest($3::text[]) AS key, unnest($4::text[]) AS kind,
           unnest($5::text[]) AS sid, unnest($6::text[]) AS resource, unnest($7::text[]) AS status,
           unnest($8::text[]) AS previous, unnest($9::text[]) AS current, unnest($10::boolean[]) AS moved,
           unnest($11::text[]) AS error_code, unnest($12::text[]) AS own
) AS input
