-- What tools keep of a session, what it is subscribed to, and which requests to its client are pending.

--- part requests: keys sessions retention
-- Requests to clients that are waited to be answered: a hash for each session, of until when each is waited for,
-- and of where in the inbox the last message for it is.
--
-- pending   all of them, by until when; a member says whose it is

local WAITED, SAID = 'w:', 's:'

-- As records.CALL has it.
local CALL = 'call-'

local function place_of_request(key, name)
  return key .. '\n' .. name
end

local function add_request(session, name, waits_until)
  redis.call('HSET', at('pending', session.key), WAITED .. name, waits_until)
  redis.call('ZADD', at('pending'), waits_until, place_of_request(session.key, name))
  keep_until(at('pending', session.key), session.kept_until)
end

local function is_pending(session, name)
  return redis.call('HEXISTS', at('pending', session.key), WAITED .. name) == 1
end

-- Its message is read no more.
local function forget_message(session, name)
  local said = redis.call('HGET', at('pending', session.key), SAID .. name)
  if said then
    redis.call('XDEL', at('events', session.key), entry_id(tonumber(said)))
  end
end

local function note_message(session, name)
  redis.call('HSET', at('pending', session.key), SAID .. name, exact(session.inbox))
end

local function set_answered(session, name)
  redis.call('HDEL', at('pending', session.key), WAITED .. name)
end

-- Its message, if it has any, stays in the inbox as long as any other.
local function forget_request(key, name)
  redis.call('HDEL', at('pending', key), WAITED .. name, SAID .. name)
  redis.call('ZREM', at('pending'), place_of_request(key, name))
end

local function forget_requests(key)
  for _, field in ipairs(redis.call('HKEYS', at('pending', key))) do
    redis.call('ZREM', at('pending'), place_of_request(key, string.match(field, '^.:(.*)$')))
  end
  redis.call('DEL', at('pending', key))
end

-- How many others are pending, but for calls.
local function others_than(session, name)
  local fields, now, count = redis.call('HGETALL', at('pending', session.key)), clock(), 0
  for i = 1, #fields, 2 do
    local other = string.match(fields[i], '^' .. WAITED .. '(.*)$')
    local is_waited_for = other and other ~= name and tonumber(fields[i + 1]) > now
    if is_waited_for and string.sub(other, 1, #CALL) ~= CALL then
      count = count + 1
    end
  end
  return count
end


--- script lease: arguments sessions
-- Take a session's data for editing: {data}, 'busy', or nothing if the session is over.

local session, token, now, lease_until = unended(take()), take(), take_number(), take()
if not session or session.expires_at <= now then
  return false
end
local holder, held_until, data = pick(session.key, 'lease_token', 'lease_until', 'data')
if holder and holder ~= token and (tonumber(held_until or '') or 0) >= now then
  return 'busy'
end
redis.call('HSET', at('session', session.key), 'lease_token', token, 'lease_until', lease_until)
return {data}


--- script renew: arguments sessions
-- Keep a lease longer.

local session, token, lease_until = unended(take()), take(), take()
if not session or pick(session.key, 'lease_token') ~= token then
  return 0
end
redis.call('HSET', at('session', session.key), 'lease_until', lease_until)
return 1


--- script release: arguments sessions
-- Give a lease back, and write the data if there is any; nothing if the session has ended.

local session, token = unended(take()), take()
if not session then
  return false
end
if pick(session.key, 'lease_token') ~= token then
  return 0
end
redis.call('HDEL', at('session', session.key), 'lease_token', 'lease_until')
if is_more() then
  redis.call('HSET', at('session', session.key), 'data', take())
end
return 1


--- script subscribe: arguments sessions retention
-- A session wants to know of changes to a resource.

local session, uri, limit = unended(take()), take(), take_number()
if session then
  local mine = at('subscriptions', session.key)
  if limit and redis.call('SCARD', mine) - redis.call('SISMEMBER', mine, uri) >= limit then
    return 0
  end
  redis.call('SADD', mine, uri)
  redis.call('SADD', at('subscribers', uri), session.key)
  keep_until(mine, session.kept_until)
  keep_at_least_until(at('subscribers', uri), session.kept_until)
end
return 1


--- script unsubscribe: arguments sessions
-- It wants to know no more.

local session, uri = unended(take()), take()
if session then
  redis.call('SREM', at('subscriptions', session.key), uri)
  redis.call('SREM', at('subscribers', uri), session.key)
end


--- script subscribers: arguments sessions
-- {where the next are, some}: live sessions that are subscribed to a resource. '0': there are no more.

-- About so many at a time, so that nobody waits for long; one may come twice.
local PAGE = 200

local uri, now, cursor = take(), take_number(), take()
local page = redis.call('SSCAN', at('subscribers', uri), cursor, 'COUNT', PAGE)
local found = {}
for _, key in ipairs(page[2]) do
  local session = unended(key)
  if not session then
    -- It has ended, or Redis has let it go.
    redis.call('SREM', at('subscribers', uri), key)
  elseif session.expires_at > now then
    found[#found + 1] = record_of(key)
  end
end
return {page[1], found}


--- script add_request: arguments sessions retention requests
-- Somebody waits for the client's answer to a request: whether no more are pending than may be. Nothing
-- if the session has ended.

local session, name, waits_until, limit = unended(take()), take(), take(), take_number()
if not session then
  return false
end
if limit and others_than(session, name) >= limit then
  return 0
end
add_request(session, name, waits_until)
return 1


--- script drop_request: arguments sessions requests
-- Nobody waits for an answer any more.

local session, name = unended(take()), take()
if session then
  forget_message(session, name)
  forget_request(session.key, name)
end
