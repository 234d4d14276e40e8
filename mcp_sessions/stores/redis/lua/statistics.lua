-- What there is of one server, or ('') of all.
-- uses: arguments sessions streams

local now, server = take(), take()
local of_server = server ~= '' and server or nil
local live = of_server and at('live', server) or at('expiry')

local function count_streams(role, counts)
  local count = 0
  for _, name in ipairs(redis.call('SMEMBERS', at(role))) do
    local stream = stream_of(name)
    if not stream then
      redis.call('SREM', at(role), name)
    elseif stream.ended_at == '' and counts(stream) then
      count = count + 1
    end
  end
  return count
end

local function is_meant(stream)
  return not of_server or pick(stream.session, 'server') == server
end

return {
  redis.call('ZCOUNT', live, '(' .. now, '+inf'),
  redis.call('ZCOUNT', live, '-inf', now),
  redis.call('ZCARD', at('ended', of_server)),
  count_streams('reader', function(stream) return stream.kind == 'get' and is_meant(stream) end),
  count_streams('writer', is_meant),
}
