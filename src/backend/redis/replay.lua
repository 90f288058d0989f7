-- Puts a dead letter back into the stream, in one step: a crash can neither lose nor double it.
-- KEYS: the stream, the stream of dead letters. ARGV: the dead letter's id. Returns whether it was
-- there.
local entry = redis.call('XRANGE', KEYS[2], ARGV[1], ARGV[1])[1]
if not entry then
    return 0
end
local fields = {}
for i = 1, #entry[2], 2 do
    local name = entry[2][i]
    if name ~= 'dead_id' and name ~= 'dead_deliveries' and name ~= 'dead_reason' and name ~= 'dead_at' then
        fields[#fields + 1] = name
        fields[#fields + 1] = entry[2][i + 1]
    end
end
redis.call('XADD', KEYS[1], '*', unpack(fields))
redis.call('XDEL', KEYS[2], ARGV[1])
return 1
