-- Read the same fields of many hashes in one round trip: a pipeline costs clients more for each answer than the server for the look.
-- KEYS[1] core, for the slot   ARGV[1] JSON: {"keys": [key, ...], "fields": [field, ...]}
-- Answers for each key the values of its fields in order, nil where there is none; nothing for a key that is no hash.
local asked = cjson.decode(ARGV[1])
local rows = {}
for i, key in ipairs(asked.keys) do
  local row = redis.pcall('HMGET', key, unpack(asked.fields))
  if row.err and not string.find(tostring(row.err), 'WRONGTYPE', 1, true) then return row end
  rows[i] = row.err and {} or row
end
return rows
