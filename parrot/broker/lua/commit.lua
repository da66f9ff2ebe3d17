-- One batch of ServeCore: state and read cursors together, or nothing.
-- KEYS[1] core hash   ARGV[1] the leader's epoch   ARGV[2] JSON: {"position": [field, value, ...], "operations": [[name, key, ...], ...]}
-- ARGV[3] number of this batch   ARGV[4] number of the one before it
-- One JSON text, since clients pay for each argument. Keys of operations are not declared: all carry the cell's hash tag, so
-- they share the slot of KEYS[1].
-- Answers 'superseded', 'lost' (batches are missing that were acknowledged), or the positions (from 0) of the operations that were
-- refused: conditional ones, then those whose key has the wrong type. A batch that comes again, since the answer to it was lost,
-- changes nothing.
local at = redis.call('HMGET', KEYS[1], 'epoch', 'batches')
if at[1] ~= ARGV[1] then return redis.status_reply('superseded') end
if at[2] == ARGV[3] then return {{}, {}} end
if (at[2] or '0') ~= ARGV[4] then return redis.status_reply('lost') end
local batch = cjson.decode(ARGV[2])
local MOST = 4000 -- parts of an operation that are given at once, since Lua passes no more than some 8000; even, so that pairs stay together
local function ended(key)
  local state = redis.call('HGET', key, 'state')
  return state == 'ready' or state == 'failed' or state == 'cancelled'
end
-- Answers whether it was refused.
local function apply(operation)
  local name, key = operation[1], operation[2]
  if name == 'move' then
    if ended(key) then return true end
    redis.call('HSET', key, unpack(operation, 3))
  elseif name == 'end' then
    local news, variable, state = operation[3], operation[4], operation[5]
    if ended(key) then return true end
    redis.call('HSET', key, 'state', state, unpack(operation, 6))
    redis.call('XADD', news, '*', 'variable', variable, 'state', state)
  elseif name == 'answer' then
    local news, session, variable, life = operation[3], operation[4], operation[5], operation[6]
    if redis.call('EXISTS', key) == 0 then
      redis.call('HSET', key, unpack(operation, 7))
      redis.call('EXPIRE', key, life)
      redis.call('XADD', news, '*', 'variable', variable, 'state', 'failed')
      -- A session that lives on has no end yet; one that is closed has told all its keys already when they end.
      if redis.call('TTL', session) ~= -1 then redis.call('EXPIRE', news, life) end
    end
  elseif name == 'bury' then
    local call, most, version, kind = operation[3], operation[4], operation[5], operation[6]
    local letter = cjson.encode({v = version, kind = kind, body = redis.call('HGET', call, 'request') or ''})
    local parts = {unpack(operation, 7)}
    parts[#parts + 1], parts[#parts + 2] = 'entry', letter
    redis.call('XADD', key, 'MAXLEN', '~', most, '*', unpack(parts))
  elseif name == 'unless' then
    if redis.call('HGET', key, operation[3]) ~= operation[4] then redis.call(unpack(operation, 5)) end
  else
    redis.call(name, unpack(operation, 2, math.min(MOST, #operation)))
    for first = MOST + 1, #operation, MOST do
      redis.call(name, key, unpack(operation, first, math.min(first + MOST - 1, #operation)))
    end
  end
  return false
end
local refused, wrong = {}, {}
redis.call('HSET', KEYS[1], unpack(batch.position))
for position, operation in ipairs(batch.operations) do
  local done, answer = pcall(apply, operation)
  if done then
    if answer then refused[#refused + 1] = position - 1 end
  else
    -- A key of another type than the schema's, which only an operator can have made, must not stop all other work.
    local message = type(answer) == 'table' and answer.err or tostring(answer)
    if not string.find(message, 'WRONGTYPE', 1, true) then return redis.error_reply(message) end
    wrong[#wrong + 1] = position - 1
  end
end
return {refused, wrong}
