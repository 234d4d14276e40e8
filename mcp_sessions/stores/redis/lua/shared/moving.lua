-- What waits in GET streams that nobody reads comes on one that is read.
-- uses: streams events

-- Nobody reads the stream any more.
local function leave(stream)
  assign(stream, 'reader', '')
  save(stream, 'idle_since', exact(clock()))
  settle(stream)
end

-- Where all that was behind has moved to another stream, nothing waits.
local function pass_over_moved(stream)
  local behind = entry_id(stream.delivered + 1)
  if waits(stream) and #redis.call('XRANGE', at('events', stream.name), behind, '+', 'COUNT', 1) == 0 then
    save(stream, 'delivered', stream.position)
  end
end

local function take_what_waits(streams)
  local waiting = {}
  for _, stream in ipairs(streams) do
    if waits(stream) then
      local events = events_between(stream.name, stream.delivered)
      delete_events(stream.name, events)
      for _, event in ipairs(events) do
        stream.total = stream.total - #event.data
        waiting[#waiting + 1] = event
      end
      -- Nothing waits there any more; what comes later does again.
      save(stream, 'delivered', stream.position)
      save_grown(stream)
      settle(stream)
    end
  end
  return waiting
end

-- The event at a position, or the last before it.
local function event_up_to(stream, position)
  local id = entry_id(position)
  local entry = redis.call('XREVRANGE', at('events', stream.name), id, '-', 'COUNT', 1)[1]
  return entry and event_of(entry)
end

local function in_order(events)
  table.sort(events, function(one, other) return one.order < other.order end)
  return events
end

-- Give what waits in these streams the next positions of the target, in the order in which it was
-- stored; whether there was any. What already waits there gets new positions too, if something older comes.
local function move(target, streams)
  local waiting = in_order(take_what_waits(streams))
  local last = #waiting > 0 and waits(target) and event_up_to(target, target.position)
  if last and waiting[1].order < last.order then
    for _, event in ipairs(take_what_waits({target})) do
      waiting[#waiting + 1] = event
    end
    in_order(waiting)
  end
  local now = clock()
  for _, event in ipairs(waiting) do
    event.at = now
    add(target, event)
  end
  if #waiting > 0 then
    save_grown(target)
    ring(target.name)
  end
  return #waiting > 0
end

local function newest_read(streams)
  for i = #streams, 1, -1 do
    if streams[i].reader ~= '' then
      return streams[i]
    end
  end
end

local function unread(streams)
  local found = {}
  for _, stream in ipairs(streams) do
    if stream.reader == '' then
      found[#found + 1] = stream
    end
  end
  return found
end

local function is_left_waiting(stream)
  return stream.kind == 'get' and stream.ended_at == '' and stream.reader == '' and waits(stream)
end

-- Events stay in the stream that was left if a later one was taken from another stream of the session:
-- they count as delivered there. Who resumes the stream gets them, and no client gets them too late.
local function keep_order(left, siblings)
  local newest, last = 0, nil
  for _, stream in ipairs(siblings) do
    local event = stream ~= left and stream.delivered > 0 and event_up_to(stream, stream.delivered)
    newest = math.max(newest, event and event.order or 0)
  end
  for _, event in ipairs(newest > 0 and events_between(left.name, left.delivered) or {}) do
    last = event.order < newest and position_of(event.id) or last
  end
  if last then
    save(left, 'delivered', last)
    pass_over_moved(left)
    settle(left)
  end
end

-- After streams were left: a client that reads another one of its session need not open a third.
-- The names of the streams to which something was moved.
local function hand_over(names)
  local moved = {}
  for _, name in ipairs(names) do
    local stream = stream_of(name)
    if stream and is_left_waiting(stream) and unended(stream.session) then
      local streams = get_streams(stream.session)
      keep_order(stream, streams)
      local target = newest_read(streams)
      if target and move(target, unread(streams)) then
        moved[#moved + 1] = target.name
      end
    end
  end
  return moved
end
