-- Append jobs to an engine's stream, each once however often it is sent.
-- KEYS[1] job stream   ARGV[1] version   ARGV[2] JSON: [[id, kind, body], ...] in the order of their ids
-- ARGV[3] number of the last batch: no id that ServeCore gave is above it
-- A stream that is gone belonged to an engine that has left: nothing is written. An id that is not above the stream's last one
-- has been sent before: Redis refuses it, and that is right, unless that last one is none of ServeCore's.
-- Answers how many were written, or -1 if a stranger has written to the stream or put something else in its place, so that it takes
-- no more jobs.
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local function strange()
  local about = redis.call('XINFO', 'STREAM', KEYS[1])
  for i = 1, #about, 2 do
    if about[i] == 'last-generated-id' then return tonumber(string.match(about[i + 1], '^%d+')) > tonumber(ARGV[3]) end
  end
end
local written = 0
for _, job in ipairs(cjson.decode(ARGV[2])) do
  local answer = redis.pcall('XADD', KEYS[1], job[1], 'v', ARGV[1], 'kind', job[2], 'body', job[3])
  if type(answer) ~= 'table' then written = written + 1
  elseif string.find(tostring(answer.err), 'WRONGTYPE', 1, true) then return -1
  elseif not string.find(tostring(answer.err), 'equal or smaller') then return answer
  elseif strange() then return -1 end
end
return written
