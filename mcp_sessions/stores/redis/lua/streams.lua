-- Streams and their events: opened, read, found, trimmed.

--- part streams: keys sessions retention changes
-- Streams: a hash each. Their events are in events.lua.
--
-- open:<session> has the streams that have not ended; among its GET streams the one that was
-- attached last is the last, and those that never were are the first.

local NEVER_ATTACHED = 2 ^ 52

local NUMBERS_OF_STREAMS = {'position', 'delivered', 'trimmed', 'total'}
local TEXTS_OF_STREAMS = {
  'session', 'kind', 'request_ids', 'writer', 'reader', 'ended_at', 'attached_at', 'since', 'idle_since',
  'created_at',
}

local read_before = {}

local function read_stream(name)
  local found = find('HGETALL', at('stream', name)) or {}
  local stream = {name = name}
  for i = 1, #found, 2 do
    stream[found[i]] = found[i + 1]
  end
  for _, field in ipairs(NUMBERS_OF_STREAMS) do
    stream[field] = tonumber(stream[field])
    if not stream[field] then
      return nil
    end
  end
  for _, field in ipairs(TEXTS_OF_STREAMS) do
    stream[field] = stream[field] or ''
  end
  return stream
end

-- The same table for a stream at each call. nil if it is not there.
local function stream_of(name)
  if read_before[name] == nil then
    read_before[name] = read_stream(name) or false
  end
  return read_before[name] or nil
end

local function save(stream, field, value)
  stream[field] = value
  redis.call('HSET', at('stream', stream.name), field, written(value))
end

-- All of it, for an answer: strings in a list, as one string (see record_of).
local function stream_record(stream)
  return cjson.encode({
    stream.name, stream.session, stream.kind, exact(stream.position), exact(stream.delivered),
    stream.ended_at, stream.request_ids, stream.writer, stream.reader, stream.attached_at,
    stream.created_at, exact(stream.trimmed),
  })
end

local function unassign(name, role, worker)
  redis.call('SREM', at(role, worker), name)
  redis.call('SREM', at(role), name)
end

-- `role` is 'writer' or 'reader'. Each worker has a set of what it writes and one of what it reads.
local function assign(stream, role, worker)
  local before = stream[role]
  if before == worker then
    return
  end
  if before ~= '' then
    unassign(stream.name, role, before)
  end
  if worker ~= '' then
    redis.call('SADD', at(role, worker), stream.name)
    redis.call('SADD', at(role), stream.name)
  end
  save(stream, role, worker)
end

local function waits(stream)
  return stream.position > stream.delivered
end

-- Nobody can ask for it any more, once it has been left for long enough.
local function is_forgettable(stream)
  local is_done = stream.ended_at ~= '' or stream.kind == 'inbox' or stream.kind == 'get' and not waits(stream)
  return is_done and stream.reader == '' and stream.idle_since ~= ''
end

-- After a change: have delete_unreachable find it, or not.
local function settle(stream)
  if is_forgettable(stream) then
    redis.call('ZADD', at('idle'), stream.idle_since, stream.name)
  else
    redis.call('ZREM', at('idle'), stream.name)
  end
end

-- Its writer is done, and with it the connection it had: only one that came back is still there.
local function finish(stream, ended_at)
  save(stream, 'ended_at', exact(ended_at))
  redis.call('ZREM', at('open', stream.session), stream.name)
  if stream.reader == stream.writer then
    assign(stream, 'reader', '')
  end
  assign(stream, 'writer', '')
  save(stream, 'idle_since', stream.reader == '' and exact(ended_at) or '')
  settle(stream)
end

local function open(session, name, kind, worker, request_ids)
  local now = exact(clock())
  local key = session.key
  redis.call('HSET', at('stream', name), 'session', key, 'kind', kind, 'position', 0, 'delivered', 0,
    'trimmed', 0, 'total', 0,
    'created_at', now, 'request_ids', request_ids)
  redis.call('SADD', at('streams', key), name)
  redis.call('ZADD', at('open', key), exact(next_number('streams') - NEVER_ATTACHED), name)
  for _, own in ipairs({at('stream', name), at('streams', key), at('open', key)}) do
    keep_until(own, session.kept_until)
  end
  read_before[name] = nil
  local stream = stream_of(name)
  assign(stream, 'writer', worker)
  if kind == 'post' then
    assign(stream, 'reader', worker)
  end
  save(stream, 'idle_since', worker == '' and now or '')
  settle(stream)
  return stream
end

-- The GET streams of a session that have not ended, in their order.
local function get_streams(key)
  local found = {}
  for _, name in ipairs(redis.call('ZRANGE', at('open', key), 0, -1)) do
    local stream = stream_of(name)
    if stream and stream.kind == 'get' then
      found[#found + 1] = stream
    end
  end
  return found
end

local function delete_stream(stream)
  assign(stream, 'writer', '')
  assign(stream, 'reader', '')
  redis.call('DEL', at('stream', stream.name), at('events', stream.name))
  redis.call('SREM', at('streams', stream.session), stream.name)
  redis.call('ZREM', at('open', stream.session), stream.name)
  redis.call('ZREM', at('idle'), stream.name)
end


--- part events: keys sessions streams retention
-- The events of streams: a Redis stream each, whose ids are the positions.

-- An event gets the next position. What has grown is saved once all are added (save_grown). `total` is
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


--- script open_stream: arguments sessions streams
-- Open a stream: its writer, its reader and when that was; 'taken', or nothing if the session has ended.

local session, name, kind, worker, request_ids = unended(take()), take(), take(), take(), take()
if not session then
  return false
end
if redis.call('EXISTS', at('stream', name)) == 1 then
  return 'taken'
end
local stream = open(session, name, kind, worker, request_ids)
return {stream.writer, stream.reader, stream.created_at}


--- script read: arguments streams events inbox
-- Events of a stream behind a position: {its end or '', the events, whether there would have been too much,
-- how far it was trimmed, its last position}, nothing if it is not there.
--
-- With a worker: what it takes to send it. 'estranged' if it does not read the stream.

local PAGE = 20

local name, worker = take(), take()
local stream = stream_of(name) or worker == '' and unopened_inbox(name)
local first, limit, size = take_number(), take_number(), take_number()
if not stream then
  return false
elseif worker ~= '' and stream.reader ~= worker then
  return 'estranged'
end
local found, total, is_cut, is_over = {}, 0, 0, false
while not is_over and #found < limit do
  local count = math.min(PAGE, limit - #found)
  local page = redis.call('XRANGE', at('events', name), entry_id(first), '+', 'COUNT', count)
  is_over = #page < count
  for _, entry in ipairs(page) do
    local event = event_of(entry)
    total = total + #event.data
    if #found > 0 and total > size then
      is_cut, is_over = 1, true
      break
    end
    found[#found + 1] = {exact(position_of(event.id)), event.name, event.data}
    first = position_of(event.id) + 1
  end
end
if worker ~= '' and first - 1 > stream.delivered then
  save(stream, 'delivered', first - 1)
end
-- As one string, like a session.
local position = exact(stream.position)
return {stream.ended_at ~= '' and position or '', cjson.encode(found), is_cut, exact(stream.trimmed), position}


--- script find_streams: arguments streams inbox
-- Streams by their names, or those of sessions or of writers but for inboxes.

local by, is_open_only = take(), take_flag()
local found = {}

local function keep_found(stream)
  if stream and (stream.ended_at == '' or not is_open_only) then
    found[#found + 1] = stream_record(stream)
  end
end

local function names_of(value)
  return redis.call('SMEMBERS', by == 'session' and at('streams', value) or at('writer', value))
end

while is_more() do
  local value = take()
  if by == 'name' then
    keep_found(stream_of(value) or unopened_inbox(value))
  else
    for _, name in ipairs(names_of(value)) do
      local stream = stream_of(name)
      keep_found(stream and stream.kind ~= 'inbox' and stream)
    end
  end
end
return found


--- script last_events: arguments streams events
-- The last events of streams, at most so many of each.

local limit, found = take(), {}
while is_more() do
  local name = take()
  for _, entry in ipairs(redis.call('XREVRANGE', at('events', name), '+', '-', 'COUNT', limit)) do
    local event = event_of(entry)
    found[#found + 1] = cjson.encode({name, exact(position_of(event.id)), event.name, event.data, exact(event.at)})
  end
end
return found


--- script trim: arguments streams events
-- Delete events that were delivered: how many.

local keep, before, size = take_number(), take_number(), take_number()

-- The answers in a batch's reply say which of its requests are still to be answered.
local function has_to_stay(stream)
  return stream.ended_at == '' and #cjson.decode(stream.request_ids) > 1
end

local function stays(stream, event)
  local is_new = position_of(event.id) > stream.position - keep and event.at >= before
  return is_new and stream.total - event.total + #event.data <= size
end

-- Events are stored in the order of their positions: behind the first that stays, all do.
local function trim(stream)
  local deleted, page = {}, nil
  local after, events, last = 0, at('events', stream.name), entry_id(stream.delivered)
  repeat
    page = redis.call('XRANGE', events, entry_id(after + 1), last, 'COUNT', 100)
    for _, entry in ipairs(page) do
      local event = event_of(entry)
      if stays(stream, event) then
        page = {}
        break
      end
      after = position_of(event.id)
      deleted[#deleted + 1] = event
    end
  until #page == 0
  if #deleted > 0 then
    delete_events(stream.name, deleted)
    save(stream, 'trimmed', after)
  end
  return #deleted
end

local deleted = 0
while is_more() do
  local stream = stream_of(take())
  if stream and not has_to_stay(stream) then
    deleted = deleted + trim(stream)
  end
end
return deleted
