-- Sessions in the orders in which they are looked for. Only those that have not ended.
-- uses: keys sessions
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
