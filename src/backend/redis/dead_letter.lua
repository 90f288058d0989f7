#!lua flags=allow-oom
-- Puts an entry aside and acks it, in one step: a crash can neither lose it nor leave it in both
-- places. The original's own id stays with it. Returns whether the entry was still there. One that is
-- pending no longer was settled by whoever took it over from a reader that was thought dead.
-- Even if Redis is full: the entry only moves, and what is done with before it can be freed.
-- KEYS: the stream, the stream of dead letters. ARGV: group, id, deliveries, reason.
if #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[2], ARGV[2], 1) == 0 then
    return 0
end
local entry = redis.call('XRANGE', KEYS[1], ARGV[2], ARGV[2])[1]
if entry then
    local fields = entry[2]
    -- Lua hands a command fewer than 8000 arguments. No event of ours has so many fields; what has
    -- is kept as one, in MessagePack, lest it stay where it is and hold up all that follows.
    if #fields > 4000 then
        fields = {'dead_fields', cmsgpack.pack(fields)}
    end
    local extra = {'dead_id', ARGV[2], 'dead_deliveries', ARGV[3], 'dead_reason', ARGV[4]}
    for _, value in ipairs(extra) do
        fields[#fields + 1] = value
    end
    redis.call('XADD', KEYS[2], '*', unpack(fields))
end
redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
return entry and 1 or 0
