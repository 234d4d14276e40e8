-- How long Redis keeps what nobody purges: a safety net, well behind the session's end.
-- uses: keys sessions
--
-- A day: whoever expires and purges sessions may have been away for a night, and must still find
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
