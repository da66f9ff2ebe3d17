-- Checkpoint generations: append what they produced since the last time to their token streams, fenced by the attempt.
-- KEYS[1] events, for the slot   ARGV[2...] packed tokens of each
-- ARGV[1] JSON: [[variable key, attempt, tokens key, sequence, kind, text, by], ...]
-- The sequence number is the entry's id, so what comes twice is refused by Redis itself and counts as written.
-- Answers 1 for each that was written, 0 for each whose attempt must stop: it was given elsewhere, cancelled, or has ended, or parts
-- before this one are lost.
-- include fence.lua
local answers = {}
for i, part in ipairs(cjson.decode(ARGV[1])) do
  if current(part[1], part[2]) and follows(part[3], part[4]) then
    local fields = {'kind', part[5], 'text', part[6], 'tokens', ARGV[1 + i]}
    if part[7] ~= '' then fields[7], fields[8] = 'by', part[7] end
    local answer = redis.pcall('XADD', part[3], part[4], unpack(fields))
    if type(answer) == 'table' and answer.err and not string.find(tostring(answer.err), 'equal or smaller') then return answer end
    answers[i] = 1
  else
    answers[i] = 0
  end
end
return answers
