-- The law of which status is current: `CurrentStatus::merge` between the row that is there and the one that comes. It
-- follows insert_statuses.sql and copy_statuses.sql. stored_at of the one that comes is now, unless it was stored before.
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
    stored_at = greatest(s.stored_at, excluded.stored_at)
RETURNING sid, account, contradicted, position, previous_position
