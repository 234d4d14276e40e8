-- Sessions: one hash each. Metadata is in it too, each name of it a field of its own ("m:…", JSON).
-- uses: keys

local NUMBERS = {
  'created_at', 'last_accessed_at', 'expires_at', 'timeout_at', 'kept_until',
  'requests', 'connections', 'inbox',
}
local FIELDS = {'key', 'digest', 'server', 'principal', 'ended_at', unpack(NUMBERS)}

-- One or several fields of a session's hash; false for each that is not there.
local function pick(key, ...)
  return unpack(redis.call('HMGET', at('session', key), ...))
end

-- What the verbs have to know of a session. One that is damaged is as good as not there: nil.
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
