-- Who may write, for all scripts through which engines do: included, so that they cannot disagree.
-- An engine that was given up may go on while its generation waits for another one ('pending'): whatever it ends first stands. It is
-- fenced off when the next attempt is placed, before that one reads the token stream.

-- Whether an attempt is the current one of a variable that has not ended.
local function current(variable, attempt)
  local now = redis.call('HMGET', variable, 'attempt', 'state')
  return now[1] == attempt and (now[2] == 'pending' or now[2] == 'generating')
end

-- Whether a part can be the next one of its token stream, or is there: not so if Redis lost power and with it what comes before.
local function follows(stream, id)
  local number = tonumber(string.match(id, '^%d+'))
  if number == 1 then return true end
  local last = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
  return last and tonumber(string.match(last[1], '^%d+')) >= number - 1
end
