-- Set variables, each once: value, end of its token stream, event for ServeCore and news for the app, fenced by the attempt.
-- KEYS[1] events   ARGV[1] version, ARGV[2] kind of the events
-- ARGV[3] JSON: [[variable key, news key, variable id, attempt, event body, rest, field, value, ...], ...]; a rest is what its token
-- stream still lacks: [tokens key, sequence, kind, text, by, where its packed tokens are, from ARGV[4] on], the first two of these if it
-- lacks nothing, or [] if it has no stream
-- ARGV[4...] the tokens of each, packed, empty where there are none; then those of the rests
-- Answers 1 for each that was set, 0 for each whose attempt may not: it was given to another engine, or has ended, or parts of its token
-- stream are lost.
-- include fence.lua
local answers = {}
for i, done in ipairs(cjson.decode(ARGV[3])) do
  local key, rest, tokens = done[1], done[6], ARGV[3 + i]
  if current(key, done[4]) and (not rest[1] or follows(rest[1], rest[2])) then
    if rest[3] then
      local fields = {'kind', rest[3], 'text', rest[4], 'tokens', ARGV[4 + rest[6]]}
      if rest[5] ~= '' then fields[7], fields[8] = 'by', rest[5] end
      redis.call('XADD', rest[1], rest[2], unpack(fields))
    end
    local fields = {'state', 'ready', unpack(done, 7)}
    if tokens ~= '' then fields[#fields + 1], fields[#fields + 2] = 'tokens', tokens end
    redis.call('HSET', key, unpack(fields))
    redis.call('XADD', KEYS[1], '*', 'v', ARGV[1], 'kind', ARGV[2], 'body', done[5])
    redis.call('XADD', done[2], '*', 'variable', done[3], 'state', 'ready')
    answers[i] = 1
  else
    answers[i] = 0
  end
end
return answers
