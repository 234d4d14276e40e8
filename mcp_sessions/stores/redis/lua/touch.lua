-- Add uses to sessions; the keys of those that have ended or are not there.
-- uses: arguments sessions indexes keeping

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
