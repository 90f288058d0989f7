#!lua flags=allow-oom
-- Makes the group if it is not there, even if Redis is full: it is the workers that empty it.
-- KEYS: the stream. ARGV: group.
return redis.call('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM')
