-- The last events of streams, at most so many of each.
-- uses: arguments streams events

local limit, found = take(), {}
while is_more() do
  local name = take()
  for _, entry in ipairs(redis.call('XREVRANGE', at('events', name), '+', '-', 'COUNT', limit)) do
    local event = event_of(entry)
    found[#found + 1] = cjson.encode({name, exact(position_of(event.id)), event.name, event.data, exact(event.at)})
  end
end
return found
