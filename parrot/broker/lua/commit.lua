-- One batch of ServeCore: state and read cursors together, or nothing.
-- KEYS[1] core hash   ARGV[1] the leader's epoch   ARGV[2] JSON: {"position": [field, value, ...], "operations": [[name, key, ...], ...]}
-- ARGV[3] number of this batch   ARGV[4] number of the one before it
-- One JSON text, since clients pay for each argument. Keys of operations are not declared: all carry the cell's hash tag, so
-- they share the slot of KEYS[1].
-- Answers 'superseded', 'lost' (batches are missing that were acknowledged), or the positions (from 0) of the conditional operations
-- that were refused. A batch that comes again, since the answer to it was lost, changes nothing.
local at = redis.call('HMGET', KEYS[1], 'epoch', 'batches')
if at[1] ~= ARGV[1] then return redis.status_reply('superseded') end
if at[2] == ARGV[3] then return {} end
if (at[2] or '0') ~= ARGV[4] then return redis.status_reply('lost') end
local batch = cjson.decode(ARGV[2])
local function ended(key)
  local state = redis.call('HGET', key, 'state')
  return state == 'ready' or state == 'failed' or state == 'cancelled'
end
local refused = {}
redis.call('HSET', KEYS[1], unpack(batch.position))
for position, operation in ipairs(batch.operations) do
  local name, key = operation[1], operation[2]
  if name == 'move' then
    if ended(key) then refused[#refused + 1] = position - 1
    else redis.call('HSET', key, unpack(operation, 3)) end
  elseif name == 'end' then
    local news, variable, state = operation[3], operation[4], operation[5]
    if ended(key) then refused[#refused + 1] = position - 1
    else
      redis.call('HSET', key, 'state', state, unpack(operation, 6))
      redis.call('XADD', news, '*', 'variable', variable, 'state', state)
    end
  elseif name == 'answer' then
    local news, session, variable, life = operation[3], operation[4], operation[5], operation[6]
    if redis.call('EXISTS', key) == 0 then
      redis.call('HSET', key, unpack(operation, 7))
      redis.call('EXPIRE', key, life)
      redis.call('XADD', news, '*', 'variable', variable, 'state', 'failed')
      if redis.call('EXISTS', session) == 0 then redis.call('EXPIRE', news, life) end
    end
  else
    redis.call(name, unpack(operation, 2))
  end
end
return refused
