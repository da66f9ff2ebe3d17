-- Set variables, each once: value, event for ServeCore and news for the app, fenced by the attempt.
-- KEYS[1] events   ARGV[1] version, ARGV[2] kind of the events
-- ARGV[3] JSON: [[variable key, news key, variable id, attempt, event body, field, value, ...], ...]
-- ARGV[4...] the tokens of each, packed; empty where there are none
-- Answers 1 for each that was set, 0 for each whose attempt may not (it was given to another engine, or has ended).
local answers = {}
for i, done in ipairs(cjson.decode(ARGV[3])) do
  local key, tokens = done[1], ARGV[3 + i]
  local now = redis.call('HMGET', key, 'attempt', 'state')
  if now[1] == done[4] and (now[2] == 'pending' or now[2] == 'generating') then
    redis.call('HSET', key, 'state', 'ready', unpack(done, 6))
    if tokens ~= '' then redis.call('HSET', key, 'tokens', tokens) end
    redis.call('XADD', KEYS[1], '*', 'v', ARGV[1], 'kind', ARGV[2], 'body', done[5])
    redis.call('XADD', done[2], '*', 'variable', done[3], 'state', 'ready')
    answers[i] = 1
  else
    answers[i] = 0
  end
end
return answers
