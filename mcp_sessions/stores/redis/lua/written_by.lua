-- The streams that these workers write.
-- uses: arguments streams

local found = {}
while is_more() do
  for _, name in ipairs(redis.call('SMEMBERS', at('writer', take()))) do
    local stream = stream_of(name)
    if stream then
      found[#found + 1] = stream_record(stream)
    end
  end
end
return found
