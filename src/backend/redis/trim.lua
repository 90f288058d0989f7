-- Frees entries that every group is done with: ours and those of others on this stream.
-- KEYS: the stream. Returns how many entries went, about; never one that a group has not acked.
local function parts(id)
    local ms, seq = string.match(id, '^(%d+)-(%d+)$')
    return tonumber(ms), tonumber(seq)
end

local function before(a, b)
    local a_ms, a_seq = parts(a)
    local b_ms, b_seq = parts(b)
    if a_ms ~= b_ms then
        return a_ms < b_ms
    end
    return a_seq < b_seq
end

local lowest
for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    local info = {}
    for i = 1, #group, 2 do
        info[group[i]] = group[i + 1]
    end
    -- With nothing pending, all up to the last delivered entry are acked; that one stays, since
    -- MINID keeps its own id. A group that was set back has entries pending that lie above the
    -- last delivered one, so both bounds hold.
    local ids = {info['last-delivered-id']}
    if info['pending'] > 0 then
        ids[2] = redis.call('XPENDING', KEYS[1], info['name'])[2]
    end
    for _, id in ipairs(ids) do
        if not lowest or before(id, lowest) then
            lowest = id
        end
    end
end
if not lowest then
    return 0
end
-- In whole nodes and bounded, so that Redis is never held up by one call.
return redis.call('XTRIM', KEYS[1], 'MINID', '~', lowest, 'LIMIT', 10000)
