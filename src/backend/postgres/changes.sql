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
FROM held CROSS JOIN unnest(
    $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
    $9::text[], $10::boolean[], $11::text[], $12::text[]
) AS input (
    account, key, kind, sid, resource, status, previous, current, moved, error_code, own
)
