-- Sessions: found, used, rotated and counted.

--- part sessions: keys
-- Sessions: one hash each. Metadata is in it too, each name of it a field of its own ("m:…", JSON).

local NUMBERS = {
  'created_at', 'last_accessed_at', 'expires_at', 'timeout_at', 'kept_until',
  'requests', 'connections', 'inbox',
}
local FIELDS = {'key', 'digest', 'server', 'principal', 'ended_at', unpack(NUMBERS)}

-- One or several fields of a session's hash; false for each that is not there.
local function pick(key, ...)
  return unpack(redis.call('HMGET', at('session', key), ...))
end

-- What scripts have to know of a session. nil for one that is damaged.
local function session_of(key)
  local values = find('HMGET', at('session', key), unpack(FIELDS))
  local session = {}
  if not values then
    return nil
  end
  for i, name in ipairs(FIELDS) do
    session[name] = values[i]
  end
  for _, name in ipairs(NUMBERS) do
    session[name] = tonumber(session[name] or '')
    if not session[name] then
      return nil
    end
  end
  return session.key and session.server and session.principal and session
end

-- A session that has not ended; its time may have run out.
local function unended(key)
  local session = session_of(key)
  return session and not session.ended_at and session or nil
end

-- All of it, for an answer; false if it is not there. What is damaged the reader finds out.
--
-- As one string, since clients take long for many small ones. That what is encoded are strings
-- only, and in a list, is why nothing is lost: cjson would round numbers and take [] for {}.
local function record_of(key)
  local found = find('HGETALL', at('session', key))
  if not found then
    return 'of another type'
  end
  return #found > 0 and cjson.encode(found)
end


--- part retention: keys sessions
-- How long Redis keeps what nobody purges: a safety net, well behind the session's end.
--
-- A day: what expires and purges sessions may not have run for a night, and must still find
-- them. It is moved when half of it is used up, so a use does not touch all keys of its session.

local GRACE = 24 * 3600 * 1000000

local function keep_until(key, instant)
  redis.call('PEXPIREAT', key, exact(instant / 1000))
end

-- The same for what several sessions have in common: it goes with the last of them.
local function keep_at_least_until(key, instant)
  if redis.call('PTTL', key) < (instant - clock()) / 1000 then
    keep_until(key, instant)
  end
end

local function own_keys(session)
  local key = session.key
  local keys = {
    at('session', key), at('id', session.digest), at('streams', key), at('open', key),
    at('subscriptions', key), at('pending', key), at('once', key),
  }
  for _, name in ipairs(redis.call('SMEMBERS', at('streams', key))) do
    keys[#keys + 1] = at('stream', name)
    keys[#keys + 1] = at('events', name)
  end
  return keys
end

-- Move the end of everything that is the session's, if it has become too near.
local function keep(session)
  local latest = math.max(session.expires_at, clock())
  if session.kept_until >= latest + GRACE / 2 then
    return
  end
  session.kept_until = latest + GRACE
  redis.call('HSET', at('session', session.key), 'kept_until', exact(session.kept_until))
  for _, key in ipairs(own_keys(session)) do
    keep_until(key, session.kept_until)
  end
  for _, uri in ipairs(redis.call('SMEMBERS', at('subscriptions', session.key))) do
    keep_at_least_until(at('subscribers', uri), session.kept_until)
  end
end


--- part indexes: keys sessions
-- Sessions in the orders in which they are looked for. Only those that have not ended.
--
-- expiry            by expires_at, all of them; a member says where else the session is
-- keys:<server>     by key
-- live:<group>      by expires_at
-- lru:<group>       by last use, those that were never used before all others
-- ended, ended:<server>   by ended_at, those that have
--
-- A group is a server, or one principal of it: what limits count.

local NEVER_USED = 2 ^ 52

-- How many places of vanished sessions are cleared by the way.
local CLEARED = 10

local function groups(server, principal)
  return {server, principal .. '@' .. server}
end

local function place_of(session)
  return table.concat({session.key, session.server, session.principal}, '\n')
end

local function index(session)
  local expires_at = exact(session.expires_at)
  local rank = session.last_accessed_at - (session.requests == 0 and NEVER_USED or 0)
  redis.call('ZADD', at('expiry'), expires_at, place_of(session))
  redis.call('ZADD', at('keys', session.server), 0, session.key)
  for _, group in ipairs(groups(session.server, session.principal)) do
    redis.call('ZADD', at('live', group), expires_at, session.key)
    redis.call('ZADD', at('lru', group), exact(rank), session.key)
  end
end

local function unindex(place)
  local key, server, principal = string.match(place, '^(.-)\n(.-)\n(.*)$')
  redis.call('ZREM', at('expiry'), place)
  redis.call('ZREM', at('keys', server), key)
  for _, group in ipairs(groups(server, principal)) do
    redis.call('ZREM', at('live', group), key)
    redis.call('ZREM', at('lru', group), key)
  end
end

local function index_ended(place, ended_at)
  local server = string.match(place, '\n(.-)\n')
  redis.call('ZADD', at('ended'), ended_at, place)
  redis.call('ZADD', at('ended', server), ended_at, place)
end

local function unindex_ended(place)
  local server = string.match(place, '\n(.-)\n')
  redis.call('ZREM', at('ended'), place)
  redis.call('ZREM', at('ended', server), place)
end

local function key_in(place)
  return string.match(place, '^(.-)\n')
end

local function is_vanished(place)
  return redis.call('EXISTS', at('session', key_in(place))) == 0
end

-- Some of what still refers to sessions that nobody purged and that Redis has let go.
local function clear_vanished()
  local now = exact(clock())
  for kind, clear in pairs({expiry = unindex, ended = unindex_ended}) do
    for _, place in ipairs(redis.call('ZRANGEBYSCORE', at(kind), '-inf', now, 'LIMIT', 0, CLEARED)) do
      if is_vanished(place) then
        clear(place)
      end
    end
  end
end


--- part previous_ids: keys sessions
-- Previous ids, which open their sessions until the grace of a rotation is over.

local function forget_previous(key)
  local digest = pick(key, 'previous_digest')
  if digest then
    redis.call('DEL', at('id', digest))
    redis.call('HDEL', at('session', key), 'previous_digest', 'previous_until', 'sealed_id')
  end
  redis.call('ZREM', at('rotated'), key)
end


--- script load: arguments sessions
-- The session whose id has this digest.

local digest = take()
local key = find('GET', at('id', digest))
if not key then
  return false
end
local found = record_of(key)
if not found then
  -- Redis has let the session go.
  redis.call('DEL', at('id', digest))
end
return found


--- script load_by_key: arguments sessions
-- The session with this public name.

return record_of(take())


--- script live_sessions: arguments sessions
-- Live sessions of a server, in the order of their keys.

local server, now, after, limit = take(), take_number(), take(), take_number()
local found, page = {}, nil
repeat
  page = redis.call('ZRANGEBYLEX', at('keys', server), '(' .. after, '+', 'LIMIT', 0, limit)
  for _, key in ipairs(page) do
    local session = unended(key)
    if session and session.expires_at > now and #found < limit then
      found[#found + 1] = record_of(key)
    end
    after = key
  end
until #page == 0 or #found == limit
return found


--- script keys_of: arguments sessions
-- Keys of live sessions of one principal of a server.

local server, principal, now, limit = take(), take(), take_number(), take_number()
local found, passed, page = {}, 0, nil
repeat
  local group = at('live', principal .. '@' .. server)
  page = redis.call('ZRANGEBYSCORE', group, '(' .. exact(now), '+inf', 'LIMIT', passed, limit)
  passed = passed + #page
  for _, key in ipairs(page) do
    if unended(key) and #found < limit then
      found[#found + 1] = key
    end
  end
until #page == 0 or #found == limit
return found


--- script expiring: arguments sessions
-- Live sessions of a server that end soon and were not warned of it, the first to end first.

local server, now, before, limit = take(), take_number(), take_number(), take_number()
local from, to = '(' .. exact(now), exact(before)
local found, passed, page = {}, 0, nil
repeat
  page = redis.call('ZRANGEBYSCORE', at('live', server), from, to, 'LIMIT', passed, limit)
  passed = passed + #page
  for _, key in ipairs(page) do
    local session = unended(key)
    local warned_for = session and tonumber(pick(key, 'warned_for') or '') or -math.huge
    if session and warned_for < session.expires_at and #found < limit then
      found[#found + 1] = record_of(key)
    end
  end
until #page == 0 or #found == limit
return found


--- script save_metadata: arguments sessions
-- Merge names into a session's metadata.

local session = unended(take())
if not session then
  return 0
end
save_rest(at('session', session.key))
return 1


--- script touch: arguments sessions indexes retention
-- Add uses to sessions; the keys of those that have ended or are not there.

local function forward(session, name, instant)
  if instant > session[name] then
    session[name] = instant
    redis.call('HSET', at('session', session.key), name, exact(instant))
  end
end

local function count(session, name, more)
  if more > 0 then
    session[name] = redis.call('HINCRBY', at('session', session.key), name, more)
  end
end

local over = {}
while is_more() do
  local key, used_at, expires_at, timeout_at = take(), take_number(), take_number(), take_number()
  local requests, connections = take_number(), take_number()
  local session = session_of(key)
  if not session or session.ended_at then
    over[#over + 1] = key
  end
  if session and used_at < session.expires_at then
    count(session, 'requests', requests)
    count(session, 'connections', connections)
    if not session.ended_at then
      forward(session, 'last_accessed_at', used_at)
      forward(session, 'expires_at', expires_at)
      forward(session, 'timeout_at', timeout_at)
      index(session)
      keep(session)
    end
  end
end
return over


--- script warn: arguments sessions
-- Claim the warning of one end of a session.

local session, expires_at = unended(take()), take_number()
if not session or expires_at <= (tonumber(pick(session.key, 'warned_for') or '') or -math.huge) then
  return 0
end
redis.call('HSET', at('session', session.key), 'warned_for', exact(expires_at))
return 1


--- script rotate: arguments sessions indexes retention inbox previous_ids changes
-- Give a session another id: 'taken' if that is another session's.

local session, before = unended(take()), take()
local digest, until_instant, sealed_id = take(), take_number(), take()
local changes_owner, owner, principal, message = take_flag(), take(), take(), take()

local function set_owner()
  unindex(place_of(session))
  session.principal = principal
  redis.call('HSET', at('session', session.key), 'owner', owner, 'principal', principal)
  index(session)
end

if not session or session.digest ~= before then
  return 0
end
if redis.call('EXISTS', at('id', digest)) > 0 then
  return 'taken'
end
forget_previous(session.key)
redis.call('HSET', at('session', session.key), 'digest', digest,
  'previous_digest', before, 'previous_until', exact(until_instant), 'sealed_id', sealed_id)
redis.call('SET', at('id', digest), session.key)
keep_until(at('id', digest), session.kept_until)
redis.call('ZADD', at('rotated'), exact(until_instant), session.key)
if changes_owner then
  set_owner()
end
put(session, '', message)
add_change()
return 1


--- script statistics: arguments sessions streams
-- What there is of one server, or ('') of all.

local now, server = take(), take()
local of_server = server ~= '' and server or nil
local live = of_server and at('live', server) or at('expiry')

local function count_streams(role, counts)
  local count = 0
  for _, name in ipairs(redis.call('SMEMBERS', at(role))) do
    local stream = stream_of(name)
    if not stream then
      redis.call('SREM', at(role), name)
    elseif stream.ended_at == '' and counts(stream) then
      count = count + 1
    end
  end
  return count
end

local function is_meant(stream)
  return not of_server or pick(stream.session, 'server') == server
end

return {
  redis.call('ZCOUNT', live, '(' .. now, '+inf'),
  redis.call('ZCOUNT', live, '-inf', now),
  redis.call('ZCARD', at('ended', of_server)),
  count_streams('reader', function(stream) return stream.kind == 'get' and is_meant(stream) end),
  count_streams('writer', is_meant),
}


--- script count_live: arguments keys
-- How many sessions live, of all servers.

return redis.call('ZCOUNT', at('expiry'), '(' .. take(), '+inf')
