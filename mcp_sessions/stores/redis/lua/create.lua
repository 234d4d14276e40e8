-- Store a session, if the limits allow; the sessions that were ended to make room for it.
-- uses: arguments sessions indexes keeping ending
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
announce()
return replaced
