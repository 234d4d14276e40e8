-- Make another worker the writer of streams of a lost one: how many, and whether that is all it had to write.
-- uses: arguments streams

local lost, worker, limit = take(), take(), take_number()
local count = 0
for _, name in ipairs(redis.call('SMEMBERS', at('writer', lost))) do
  local stream = stream_of(name)
  if count == limit then
    break
  elseif stream then
    assign(stream, 'writer', worker)
    count = count + 1
  else
    unassign(name, 'writer', lost)
  end
end
return {count, redis.call('EXISTS', at('writer', lost)) == 0}
