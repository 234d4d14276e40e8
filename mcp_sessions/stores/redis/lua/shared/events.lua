-- The events of streams: a Redis stream each, whose ids are the positions.
-- uses: keys sessions streams keeping

-- An event gets the next position; what has grown is saved by who has added all there is. `total` is
-- how much data the stream has up to the event, whatever was deleted before it.
local function add(stream, event)
  stream.position = stream.position + 1
  stream.total = stream.total + #event.data
  local events = at('events', stream.name)
  redis.call('XADD', events, entry_id(stream.position), 'name', event.name, 'data', event.data,
    'at', exact(event.at), 'order', exact(event.order), 'total', exact(stream.total))
  if stream.position == 1 or stream.is_new then
    stream.is_new = false
    keep_until(events, tonumber(pick(stream.session, 'kept_until') or '') or clock() + GRACE)
  end
end

local function save_grown(stream)
  save(stream, 'position', stream.position)
  save(stream, 'total', stream.total)
end

local function event_of(entry)
  local fields = entry[2]
  local stored_at, order = tonumber(fields[6]), tonumber(fields[8])
  local total = tonumber(fields[10] or 0)
  return {id = entry[1], name = fields[2], data = fields[4], at = stored_at, order = order, total = total}
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
