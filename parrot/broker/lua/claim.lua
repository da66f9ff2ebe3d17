-- An engine starts attempts on variables, where its attempt is still the current one.
-- KEYS[1] events, for the slot   ARGV[1] time   ARGV[2] JSON: [[variable key, attempt], ...]
-- Answers 1 for each that may run, 0 for each that must be dropped.
-- include fence.lua
local answers = {}
for i, claim in ipairs(cjson.decode(ARGV[2])) do
  if current(claim[1], claim[2]) then
    redis.call('HSET', claim[1], 'state', 'generating', 'started', ARGV[1])
    answers[i] = 1
  else
    answers[i] = 0
  end
end
return answers
