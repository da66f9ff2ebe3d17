-- Keep the lead, or lay it down.
-- KEYS[1] core hash, KEYS[2] leader's lease   ARGV[1] the leader's epoch, ARGV[2] lease in ms; 0 lays the lead down
-- Answers 1, or 0 if a newer leader has taken over: then nothing changes.
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then redis.call('DEL', KEYS[2])
else redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2]) end
return 1
