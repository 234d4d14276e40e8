-- How sessions end, with their streams: to make room for another, one by one, and for want of time.

--- part ends: keys indexes streams changes
-- Ends of sessions, with their streams.

-- The reply of a call that runs is ended by the call, which is cancelled and says so in it.
local function end_streams(key, at_instant)
  for _, name in ipairs(redis.call('ZRANGE', at('open', key), 0, -1)) do
    local stream = stream_of(name)
    if stream and not (stream.kind == 'post' and stream.writer ~= '') then
      finish(stream, at_instant)
    end
  end
end

-- `now` is when its streams end, which is later if its time had run out before.
local function end_session(session, ended_at, reason, now)
  local place = place_of(session)
  redis.call('HSET', at('session', session.key), 'ended_at', exact(ended_at), 'end_reason', reason)
  unindex(place)
  index_ended(place, exact(ended_at))
  end_streams(session.key, now)
  changed(session.key)
end


--- script create: arguments sessions indexes retention ends
-- Store a session, if the limits allow; the sessions that were ended to make room for it.
--
-- Answers 'taken', or {'limit', group}, if it is not stored.

local session = {
  key = take(), digest = take(), server = take(), principal = take(),
  created_at = take_number(), expires_at = take_number(), last_accessed_at = take_number(),
  requests = take_number(), ended_at = take(), kept_until = 0,
}
local limits = {take_number(), take_number()}
local replaces, reason = take_flag(), take()

local function is_busy(key)
  for _, name in ipairs(redis.call('ZRANGE', at('open', key), 0, -1)) do
    local stream = stream_of(name)
    if stream and (stream.writer ~= '' or stream.kind == 'get' and stream.reader ~= '') then
      return true
    end
  end
  return false
end

-- Those that can go first: the least recently used that nothing is open or runs for.
local function least_needed(group, count)
  local found, busy = {}, {}
  local first, page = 0, nil
  repeat
    page = redis.call('ZRANGE', at('lru', group), first, first + 99)
    first = first + #page
    for _, key in ipairs(page) do
      local other = session_of(key)
      if other and other.expires_at > session.created_at then
        table.insert(is_busy(key) and busy or found, other)
      end
      if #found == count then
        return found
      end
    end
  until #page == 0
  for i = 1, math.min(count - #found, #busy) do
    found[#found + 1] = busy[i]
  end
  return found
end

local function live_in(group)
  return redis.call('ZCOUNT', at('live', group), '(' .. exact(session.created_at), '+inf')
end

-- For one principal first: what goes for its sake makes room on the server too.
local function make_room()
  local replaced = {}
  for i, group in ipairs({session.principal .. '@' .. session.server, session.server}) do
    local excess = limits[i] and live_in(group) - limits[i] + 1 or 0
    if excess > 0 and not replaces then
      return nil, i
    end
    for _, other in ipairs(excess > 0 and least_needed(group, excess) or {}) do
      replaced[#replaced + 1] = record_of(other.key)
      end_session(other, session.created_at, reason, session.created_at)
    end
  end
  return replaced
end

local function store()
  save_rest(at('session', session.key))
  redis.call('SET', at('id', session.digest), session.key)
  keep(session)
  if session.ended_at ~= '' then
    index_ended(place_of(session), session.ended_at)
  else
    index(session)
  end
end

if redis.call('EXISTS', at('session', session.key), at('id', session.digest)) > 0 then
  return 'taken'
end
clear_vanished()
local replaced, limit = make_room()
if not replaced then
  return {'limit', limit}
end
store()
add_change()
return replaced


--- script end: arguments sessions ends
-- End a session, once.

local session = unended(take())
if not session then
  return 0
end
local ended_at, reason = take_number(), take()
end_session(session, ended_at, reason, ended_at)
add_change()
return 1


--- script expire: arguments sessions indexes ends
-- End sessions whose time has run out; as they were before.

local now, limit, idle, expired, is_named = take_number(), take_number(), take(), take(), take_flag()
local found = {}

local function expire(session)
  found[#found + 1] = record_of(session.key)
  end_session(session, session.expires_at, session.expires_at < session.timeout_at and idle or expired, now)
end

while is_named and is_more() and #found < limit do
  local session = unended(take())
  if session and session.expires_at <= now then
    expire(session)
  end
end
local places = is_named and {} or redis.call('ZRANGEBYSCORE', at('expiry'), '-inf', exact(now), 'LIMIT', 0, limit)
for _, place in ipairs(places) do
  local session = unended(key_in(place))
  if session then
    expire(session)
  else
    unindex(place)
  end
end
add_change()
return found


--- script purge: arguments sessions indexes streams previous_ids calls changes requests
-- Delete sessions that have ended, with all that is theirs.

local function delete_session(key)
  for _, name in ipairs(redis.call('SMEMBERS', at('streams', key))) do
    local stream = stream_of(name)
    if stream then
      delete_stream(stream)
    end
  end
  for _, uri in ipairs(redis.call('SMEMBERS', at('subscriptions', key))) do
    redis.call('SREM', at('subscribers', uri), key)
  end
  forget_previous(key)
  forget_calls(key)
  forget_requests(key)
  local digest = pick(key, 'digest')
  redis.call('DEL', at('session', key), at('id', digest or ''), at('streams', key), at('open', key),
    at('subscriptions', key))
  changed(key)
end

local before, limit, is_named = take(), take_number(), take_flag()
local deleted = 0
while is_named and is_more() and deleted < limit do
  local key = take()
  local ended_at = session_of(key) and tonumber(pick(key, 'ended_at') or '')
  if ended_at and ended_at <= tonumber(before) then
    -- Its place among the ended is removed by the purge that comes to it.
    delete_session(key)
    deleted = deleted + 1
  end
end
if is_named then
  add_change()
  return deleted
end
for _, place in ipairs(redis.call('ZRANGEBYSCORE', at('ended'), '-inf', before, 'LIMIT', 0, limit)) do
  if session_of(key_in(place)) then
    delete_session(key_in(place))
    deleted = deleted + 1
  end
  unindex_ended(place)
end
add_change()
return deleted
