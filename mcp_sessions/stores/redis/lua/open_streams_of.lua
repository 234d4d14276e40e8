-- The streams of sessions, but for inboxes, that have not ended.
-- uses: arguments streams

local found = {}
while is_more() do
  for _, name in ipairs(redis.call('ZRANGE', at('open', take()), 0, -1)) do
    local stream = stream_of(name)
    if stream and stream.ended_at == '' and stream.kind ~= 'inbox' then
      found[#found + 1] = stream_record(stream)
    end
  end
end
return found
