-- Events of a stream behind a position: {its end or '', the events}, nothing if it is not there.
-- uses: arguments streams events

local stream, first, limit = stream_of(take()), take(), take()
if not stream then
  return false
end
local found = {}
for i, entry in ipairs(redis.call('XRANGE', at('events', stream.name), first .. '-0', '+', 'COUNT', limit)) do
  local event = event_of(entry)
  found[i] = {exact(position_of(event.id)), event.name, event.data}
end
-- As one string, like a session.
return {stream.ended_at ~= '' and exact(stream.position) or '', cjson.encode(found)}
