-- The events of streams: a Redis stream each, whose ids are the positions.
-- uses: keys sessions keeping

-- An event gets the next position; the number is saved by who has added all there is.
local function add(stream, event)
  stream.position = stream.position + 1
  local events = at('events', stream.name)
  redis.call('XADD', events, entry_id(stream.position), 'name', event.name, 'data', event.data,
    'at', exact(event.at), 'order', exact(event.order))
  if stream.position == 1 then
    keep_until(events, tonumber(pick(stream.session, 'kept_until') or '') or clock() + GRACE)
  end
end

local function event_of(entry)
  local fields = entry[2]
  local stored_at, order = tonumber(fields[6]), tonumber(fields[8])
  return {id = entry[1], name = fields[2], data = fields[4], at = stored_at, order = order}
end

-- The events behind a position, up to another or (nil) to the last.
local function events_between(name, after, last)
  local found = {}
  local first, up_to = entry_id(after + 1), last and entry_id(last) or '+'
  for i, entry in ipairs(redis.call('XRANGE', at('events', name), first, up_to)) do
    found[i] = event_of(entry)
  end
  return found
end

local function delete_events(name, events)
  for _, event in ipairs(events) do
    redis.call('XDEL', at('events', name), event.id)
  end
end
