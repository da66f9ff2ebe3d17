-- Take the lead of a cell, if nobody holds it.
-- KEYS[1] core hash, KEYS[2] leader's lease   ARGV[1] name of the candidate, ARGV[2] lease in ms
-- Answers {0, ms that the lease of the leader still runs} or {epoch, cursor of tasks, cursor of events, batches}.
local left = redis.call('PTTL', KEYS[2])
if left > 0 then return {0, left} end
local epoch = redis.call('HINCRBY', KEYS[1], 'epoch', 1)
redis.call('SET', KEYS[2], epoch, 'PX', ARGV[2])
redis.call('HSET', KEYS[1], 'leader', ARGV[1])
local at = redis.call('HMGET', KEYS[1], 'tasks', 'events', 'batches')
return {epoch, at[1] or '0-0', at[2] or '0-0', at[3] or '0'}
