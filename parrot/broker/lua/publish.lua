-- Set a variable, once: value, event for ServeCore and news for the app, all or nothing, fenced by the attempt.
-- KEYS[1] variable, KEYS[2] events, KEYS[3] news of the session
-- ARGV[1] variable id, ARGV[2] attempt, ARGV[3] version, ARGV[4] kind and ARGV[5] body of the event, then field/value pairs
-- Answers 1 if it was set, 0 if this attempt may not (it was given to another engine, or has ended).
local now = redis.call('HMGET', KEYS[1], 'attempt', 'state')
if now[1] ~= ARGV[2] or now[2] == 'ready' or now[2] == 'failed' then return 0 end
redis.call('HSET', KEYS[1], 'state', 'ready', unpack(ARGV, 6))
redis.call('XADD', KEYS[2], '*', 'v', ARGV[3], 'kind', ARGV[4], 'body', ARGV[5])
redis.call('XADD', KEYS[3], '*', 'variable', ARGV[1], 'state', 'ready')
return 1
