-- Claims entries that others left idle. In one step, so that what was idle and cannot be claimed is
-- gone from the stream: somebody deleted or trimmed it, and Redis has just let go of its name.
-- KEYS: the stream. ARGV: group, consumer, least idle time in ms, most entries.
-- Returns what was idle, as XPENDING tells, and what was claimed, as XCLAIM does.
local idle = redis.call('XPENDING', KEYS[1], ARGV[1], 'IDLE', ARGV[3], '-', '+', ARGV[4])
if #idle == 0 then
    return {idle, {}}
end
local ids = {}
for i, entry in ipairs(idle) do
    ids[i] = entry[1]
end
return {idle, redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], unpack(ids))}
