-- Streams: a hash each. Their events are in events.lua.
-- uses: keys sessions keeping ringing
--
-- open:<session> has the streams that have not ended; among its GET streams the one that was
-- attached last is the last, and those that never were are the first.

local NEVER_ATTACHED = 2 ^ 52

local NUMBERS_OF_STREAMS = {'position', 'delivered'}
-- Those of before had none of these.
local NEW_NUMBERS_OF_STREAMS = {'trimmed', 'total'}
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
  for _, field in ipairs(NEW_NUMBERS_OF_STREAMS) do
    stream[field] = tonumber(stream[field] or 0)
    if not stream[field] then
      return nil
    end
  end
  for _, field in ipairs(TEXTS_OF_STREAMS) do
    stream[field] = stream[field] or ''
  end
  return stream
end

-- One table for each stream, whoever asks for it. nil if it is not there.
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

-- After a change: let the sweep find it, or not.
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
