-- Who reads a stream, and the moves of events between the GET streams of a session.

--- part moves: streams events
-- What waits in GET streams that nobody reads comes on one that is read.

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
    changed(target.name)
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


--- script attach: arguments sessions streams moves inbox changes
-- Have a stream read by a worker, one that is opened for it or one that is there: its record and what
-- has to make room, nothing if the session has no such stream, 'ended' if it has ended itself, 'taken'.

local key, name, worker, seen, limit = take(), take(), take(), take_number(), take_number()
local is_new, now, since, keep = take_flag(), take(), take(), take_number()
local displaced = {}

local function displace(stream, why)
  displaced[#displaced + 1] = {stream.name, stream.reader, stream.attached_at, why, stream.since}
end

local function set_reader(stream)
  assign(stream, 'reader', worker)
  save(stream, 'attached_at', now)
  save(stream, 'since', since)
  save(stream, 'idle_since', '')
  save(stream, 'delivered', stream.kind == 'get' and math.max(stream.delivered, seen) or seen)
  settle(stream)
  if stream.ended_at == '' then
    redis.call('ZADD', at('open', key), next_number('streams'), name)
  end
end

-- The session's GET streams that are read; the one just attached is the last.
local function read_streams()
  local read = {}
  for _, stream in ipairs(get_streams(key)) do
    if stream.reader ~= '' then
      read[#read + 1] = stream
    end
  end
  return read
end

-- Nobody reads the oldest of them any more.
local function make_room(read)
  for i = 1, limit and #read - limit or 0 do
    displace(read[i], 'limit')
    leave(read[i])
  end
end

-- Of the streams that nobody reads, and that nothing waits in any more, only the newest stay.
local function drop_left()
  local left = unread(get_streams(key))
  for i = 1, keep and #left - keep or 0 do
    delete_stream(left[i])
  end
end

-- As Displaced.message() has it.
local function put_displaced(session)
  for _, each in ipairs(displaced) do
    local message = {stream = each[1], reader = each[2], since = each[5], why = each[4]}
    put(session, '', cjson.encode({close = message}))
  end
end

local session = unended(key)
if not session then
  return 'ended'
end
if is_new then
  if redis.call('EXISTS', at('stream', name)) == 1 then
    return 'taken'
  end
  open(session, name, 'get', '', '[]')
end
local stream = stream_of(name)
if not stream or stream.session ~= key or stream.kind ~= 'get' and stream.kind ~= 'post' then
  return false
end
if seen < stream.trimmed or seen > stream.position then
  return false
end
if stream.reader ~= '' and stream.reader ~= worker then
  displace(stream, 'replaced')
end
set_reader(stream)
if stream.kind == 'get' and stream.ended_at == '' then
  local read = read_streams()
  make_room(read)
  local sources, newest = unread(get_streams(key)), read[#read - 1]
  if newest and newest.reader ~= '' then
    sources[#sources + 1] = newest
  end
  move(stream, sources)
  drop_left()
end
put_displaced(session)
add_change()
return {stream_record(stream), displaced}


--- script mark_delivered: arguments streams moves changes
-- Remember how far streams were sent by the worker that reads them, and that it leaves them; the
-- streams on which comes now what waited there.

local worker, is_leaving = take(), take_flag()
local names = {}
while is_more() do
  local name, position = take(), take_number()
  local stream = stream_of(name)
  if stream and stream.reader == worker then
    -- Who leaves gives back what it took and has not sent.
    save(stream, 'delivered', math.max(is_leaving and stream.trimmed or stream.delivered, position))
    if is_leaving then
      pass_over_moved(stream)
      leave(stream)
    end
  end
  names[#names + 1] = name
end
local moved = is_leaving and hand_over(names) or {}
add_change()
return moved
