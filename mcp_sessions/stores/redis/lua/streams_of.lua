-- The streams of a session.
-- uses: arguments streams

local found = {}
for _, name in ipairs(redis.call('SMEMBERS', at('streams', take()))) do
  local stream = stream_of(name)
  if stream then
    found[#found + 1] = stream_record(stream)
  end
end
return found
