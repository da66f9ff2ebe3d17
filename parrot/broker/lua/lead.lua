-- Take the lead of a cell, if nobody holds it.
-- KEYS[1] core hash, KEYS[2] leader's lease   ARGV[1] name of the candidate, ARGV[2] lease in ms
-- Answers {0, ms that the lease of the leader still runs, its epoch} or {epoch, cursor of tasks, cursor of events, batches, 1 if this
-- is another run of the server than the one in which the last batch was committed, this run}. That it is another one stays so until the
-- first batch, which says what follows from it: whoever takes the lead may die before that.
local left = redis.call('PTTL', KEYS[2])
if left > 0 then return {0, left, redis.call('GET', KEYS[2])} end
local epoch = redis.call('HINCRBY', KEYS[1], 'epoch', 1)
redis.call('SET', KEYS[2], epoch, 'PX', ARGV[2])
local at = redis.call('HMGET', KEYS[1], 'tasks', 'events', 'batches', 'server')
-- A server that does not say which run it is (or not to us) is taken for the same: without this no cell could be led on it.
local about = redis.pcall('INFO', 'server')
local server = type(about) == 'string' and string.match(about, 'run_id:(%w+)') or at[4] or ''
redis.call('HSET', KEYS[1], 'leader', ARGV[1])
redis.call('HSETNX', KEYS[1], 'server', server)
return {epoch, at[1] or '0-0', at[2] or '0-0', at[3] or '0', (at[4] or server) ~= server and 1 or 0, server}
