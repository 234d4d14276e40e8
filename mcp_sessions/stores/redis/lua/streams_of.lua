-- The streams of a session, but for its inbox.
-- uses: arguments streams

local found = {}
for _, name in ipairs(redis.call('SMEMBERS', at('streams', take()))) do
  local stream = stream_of(name)
  if stream and stream.kind ~= 'inbox' then
    found[#found + 1] = stream_record(stream)
  end
end
return found
