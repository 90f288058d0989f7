-- Removes consumers that have been idle for long, unless something is pending on them: removing one
-- that holds something would lose that. One that was only stalled, or that Redis 7.0 counts as idle
-- since its reads found nothing, is made again by its next read.
-- KEYS: the stream. ARGV: group, least idle time in ms. Returns how many went.
local reaped = 0
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
    local info = {}
    for i = 1, #consumer, 2 do
        info[consumer[i]] = consumer[i + 1]
    end
    if info['pending'] == 0 and info['idle'] >= tonumber(ARGV[2]) then
        redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], info['name'])
        reaped = reaped + 1
    end
end
return reaped
