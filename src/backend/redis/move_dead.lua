#!lua flags=allow-oom
-- Moves dead letters from where 0.1 put them to where they lie now, a page at a time. Each keeps its id, or
-- if later ones are there already, the time in it.
-- KEYS: the old stream of dead letters, the new one. Returns how many were moved.
local entries = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 100)
for _, entry in ipairs(entries) do
    local id, fields = entry[1], entry[2]
    local added = redis.pcall('XADD', KEYS[2], id, unpack(fields))
    if type(added) == 'table' then
        fields[#fields + 1] = 'dead_at'
        fields[#fields + 1] = string.match(id, '^%d+')
        redis.call('XADD', KEYS[2], '*', unpack(fields))
    end
    redis.call('XDEL', KEYS[1], id)
end
-- A user may not be allowed to delete keys; an empty stream takes no room.
if #entries > 0 and redis.call('XLEN', KEYS[1]) == 0 then
    redis.pcall('DEL', KEYS[1])
end
return #entries
