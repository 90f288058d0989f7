-- Counts entries after the last delivered one, up to a bound. Redis keeps that number itself, but forgets
-- what it goes by when it restarts: it is then too high by all that was read before.
-- KEYS: the stream. ARGV: id of the last delivered entry, most to count.
local counted, last, most = 0, ARGV[1], tonumber(ARGV[2])
while counted < most do
    local page = redis.call('XRANGE', KEYS[1], '(' .. last, '+', 'COUNT', math.min(100, most - counted))
    if #page == 0 then
        break
    end
    counted = counted + #page
    last = page[#page][1]
end
return counted
