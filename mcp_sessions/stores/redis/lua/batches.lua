-- A batch of items, and the inbox of a session, into which some of them go.

--- part inbox: keys sessions streams events changes
-- The inbox of a session: a stream under the session's key, which is made when something is put there.
--
-- The session has its position, too: an inbox that is not used is deleted, and goes on from there.

-- As records.INBOX_KEPT has it.
local KEPT = 200

local function open_inbox(session)
  local inbox = open(session, session.key, 'inbox', '', '[]')
  save(inbox, 'position', session.inbox)
  save(inbox, 'trimmed', session.inbox)
  inbox.is_new = true
  return inbox
end

local function trim(inbox)
  local last = inbox.position - KEPT
  if last > inbox.trimmed then
    delete_events(inbox.name, events_between(inbox.name, inbox.trimmed, last))
    save(inbox, 'trimmed', last)
  end
end

-- `request` is the pending request that the message belongs to, or ''.
local function put(session, request, message)
  local inbox, now = stream_of(session.key) or open_inbox(session), clock()
  add(inbox, {name = request, data = message, at = now, order = 0})
  save_grown(inbox)
  save(inbox, 'idle_since', exact(now))
  settle(inbox)
  trim(inbox)
  session.inbox = inbox.position
  redis.call('HSET', at('session', session.key), 'inbox', exact(session.inbox))
  changed(session.key)
end

-- The inbox of a session in which nothing was put, or that was deleted because nobody used it.
local function unopened_inbox(key)
  local session = session_of(key)
  return session and {
    name = key, session = key, kind = 'inbox', position = session.inbox, delivered = 0,
    ended_at = session.ended_at or '', request_ids = '[]', writer = '', reader = '', attached_at = '',
    created_at = exact(session.created_at), trimmed = session.inbox,
  }
end


--- script append: arguments sessions streams events inbox requests changes
-- Add a batch to streams: where each item went, and what was dropped for want of room.
--
-- Answers 'taken' if a batch with this token was stored.

local TOKEN_KEPT_MS = 60000

local token = take()

-- How many events may wait, and how much data they may have; nil is no limit.
local function take_limits()
  return {count = take_number(), size = take_number()}
end

local default_limits, limits = take_limits(), {}
for _ = 1, take_number() do
  local server = take()
  limits[server] = take_limits()
end

local now = clock()
local sessions, grown, chosen, dropped = {}, {}, {}, {}

local function session_for(key)
  if sessions[key] == nil then
    sessions[key] = unended(key) or false
  end
  return sessions[key]
end

-- What is added to a stream that is named.
local function take_append()
  local append = {name = take(), writer = take(), reader = take(), ends = take_flag(), events = {}}
  for i = 1, take_number() do
    append.events[i] = {name = take(), data = take()}
  end
  return append
end

-- The stream, if it takes what is to be added: the fence against workers that were declared lost.
local function open_for(append)
  local stream = stream_of(append.name)
  local is_its_writer = stream and (append.writer == '' or append.writer == stream.writer) and stream.kind ~= 'inbox'
  return stream and stream.ended_at == '' and is_its_writer and stream or nil
end

local function add_events(stream, events)
  for _, event in ipairs(events) do
    -- Only what is in GET streams may move, and has to know what was stored before it.
    event.at, event.order = now, stream.kind == 'get' and next_number('events') or 0
    add(stream, event)
  end
  if #events > 0 then
    save_grown(stream)
    if stream.idle_since ~= '' then
      settle(stream)
    end
  end
  return #events > 0 and stream.position - #events + 1 or stream.position
end

-- `reader` is the worker that takes the events, if it still reads the stream and nothing waits there.
local function place(placed, stream, events, reader, ends)
  local is_taken = reader ~= '' and reader == stream.reader and not waits(stream)
  local first = add_events(stream, events)
  if is_taken then
    save(stream, 'delivered', stream.position)
  end
  if ends then
    finish(stream, now)
  end
  changed(stream.name)
  placed[#placed + 1] = stream.name
  placed[#placed + 1] = exact(first)
  placed[#placed + 1] = is_taken and 1 or 0
end

local function targets(session, everywhere, only_now)
  local streams, read, waiting = get_streams(session.key), {}, nil
  for _, stream in ipairs(streams) do
    if stream.reader ~= '' then
      read[#read + 1] = stream
    elseif waits(stream) then
      waiting = stream
    end
  end
  if #read > 0 then
    return everywhere and read or {read[#read]}
  elseif only_now then
    return {}
  end
  -- In one stream, whatever was opened meanwhile: what came first goes first.
  return {waiting or streams[#streams] or open(session, session.new_stream, 'get', '', '[]')}
end

local function place_append()
  local placed, append = {}, take_append()
  local stream = open_for(append)
  if stream then
    place(placed, stream, append.events, append.reader, append.ends)
  end
  return placed
end

local function place_send()
  local placed, session = {}, session_for(take())
  local new_stream, everywhere, only_now = take(), take_flag(), take_flag()
  local event, readers = {name = take(), data = take()}, {}
  for _ = 1, take_number() do
    local name = take()
    readers[name] = take()
  end
  local call = take_flag() and take_append()
  local answered = call and open_for(call)
  if not session or call and not answered then
    return placed
  end
  if answered then
    place(placed, answered, call.events, '', call.ends)
  end
  session.new_stream = new_stream
  for _, stream in ipairs(targets(session, everywhere, only_now)) do
    place(placed, stream, {{name = event.name, data = event.data}}, readers[stream.name] or '')
    chosen[stream.name] = stream
  end
  return placed
end

-- A message for a pending request takes the place of the one before.
local function place_inbound()
  local session, data, request, answers = session_for(take()), take(), take(), take_flag()
  if not session or request ~= '' and not is_pending(session, request) then
    return {}
  end
  if request ~= '' then
    forget_message(session, request)
  end
  put(session, request, data)
  if request ~= '' then
    note_message(session, request)
  end
  if answers then
    set_answered(session, request)
  end
  return {session.key, exact(session.inbox), 0}
end

local PLACES = {append = place_append, send = place_send, inbound = place_inbound}

-- The position of the last event that waits and with which those behind it are too much.
local function last_too_much(stream, limit)
  local last = math.max(stream.delivered, limit.count and stream.position - limit.count or 0)
  while limit.size do
    local entry = redis.call('XRANGE', at('events', stream.name), entry_id(last + 1), '+', 'COUNT', 1)[1]
    local event = entry and event_of(entry)
    if not event or stream.total - event.total + #event.data <= limit.size then
      break
    end
    last = position_of(event.id)
  end
  return last
end

-- The oldest of what waits where nobody reads, past the session's limits.
local function drop_oldest(stream)
  local session = session_for(stream.session)
  if stream.reader ~= '' then
    return
  end
  local last = last_too_much(stream, limits[session.server] or default_limits)
  if last <= stream.delivered then
    return
  end
  local events = events_between(stream.name, stream.delivered, last)
  delete_events(stream.name, events)
  save(stream, 'delivered', last)
  save(stream, 'trimmed', last)
  local before = tonumber(pick(session.key, 'm:dropped') or '') or 0
  redis.call('HSET', at('session', session.key), 'm:dropped', exact(before + #events))
  dropped[#dropped + 1] = {session.key, session.server, #events}
end

if token ~= '' and redis.call('EXISTS', at('token', token)) == 1 then
  return 'taken'
end
local answers = {}
while is_more() do
  answers[#answers + 1] = PLACES[take()]()
end
for _, stream in pairs(chosen) do
  drop_oldest(stream)
end
if token ~= '' and #changed_names > 0 then
  redis.call('SET', at('token', token), '1', 'PX', TOKEN_KEPT_MS)
end
add_change()
return {answers, dropped}
