-- One batch of ServeCore: state and read cursors together, or nothing.
-- KEYS[1] core hash   ARGV[1] the leader's epoch, ARGV[2] number of field/value pairs for the core hash, the pairs,
-- then operations: name, number of arguments, arguments (the first one is a key).
-- Keys of operations are not declared: all carry the cell's hash tag, so they share the slot of KEYS[1].
-- Answers 'superseded' or the positions of the conditional operations that were refused.
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then
  return redis.status_reply('superseded')
end
local function ended(key)
  local state = redis.call('HGET', key, 'state')
  return state == 'ready' or state == 'failed'
end
local refused = {}
local at = 3 + 2 * tonumber(ARGV[2])
if at > 3 then redis.call('HSET', KEYS[1], unpack(ARGV, 3, at - 1)) end
local position = 0
while at <= #ARGV do
  local name, last = ARGV[at], at + 1 + tonumber(ARGV[at + 1])
  local first = at + 2
  local key = ARGV[first]
  if name == 'move' then
    if ended(key) then refused[#refused + 1] = position
    else redis.call('HSET', key, unpack(ARGV, first + 1, last)) end
  elseif name == 'end' then
    if ended(key) then refused[#refused + 1] = position
    else
      redis.call('HSET', key, 'state', ARGV[first + 3], unpack(ARGV, first + 4, last))
      redis.call('XADD', ARGV[first + 1], '*', 'variable', ARGV[first + 2], 'state', ARGV[first + 3])
    end
  else
    redis.call(name, unpack(ARGV, first, last))
  end
  at = last + 1
  position = position + 1
end
return refused
