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

-- Give what waits in these streams the next positions of the target, in the order in which it was
-- stored; whether there was any.
local function move(target, streams)
  local waiting = take_what_waits(streams)
  table.sort(waiting, function(one, other) return one.order < other.order end)
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

-- After streams were left: a client that reads another one of its session need not open a third.
-- The names of the streams to which something was moved.
local function hand_over(names)
  local moved = {}
  for _, name in ipairs(names) do
    local stream = stream_of(name)
    if stream and is_left_waiting(stream) and unended(stream.session) then
      local streams = get_streams(stream.session)
      local target = newest_read(streams)
      if target and move(target, unread(streams)) then
        moved[#moved + 1] = target.name
      end
    end
  end
  return moved
end
