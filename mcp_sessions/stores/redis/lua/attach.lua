-- Have a stream read by a worker, one that is opened for it or one that is there: its record and what
-- has to make room, nothing if the session has no such stream, 'ended' if it has ended itself, 'taken'.
-- uses: arguments sessions streams moving inboxes ringing

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
local function tell(session)
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
tell(session)
announce()
return {stream_record(stream), displaced}
