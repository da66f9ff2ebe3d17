-- An engine starts an attempt on a variable, if that attempt is still the current one.
-- KEYS[1] variable   ARGV[1] attempt, ARGV[2] time
local now = redis.call('HMGET', KEYS[1], 'attempt', 'state')
if now[1] ~= ARGV[1] or now[2] == 'ready' or now[2] == 'failed' then return 0 end
redis.call('HSET', KEYS[1], 'state', 'generating', 'started', ARGV[2])
return 1
