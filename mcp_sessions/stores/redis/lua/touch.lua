-- Add uses to sessions.
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

while is_more() do
  local key, used_at, expires_at, timeout_at = take(), take_number(), take_number(), take_number()
  local requests, connections = take_number(), take_number()
  local session = unended(key)
  if session and used_at < session.expires_at then
    forward(session, 'last_accessed_at', used_at)
    forward(session, 'expires_at', expires_at)
    forward(session, 'timeout_at', timeout_at)
    count(session, 'requests', requests)
    count(session, 'connections', connections)
    index(session)
    keep(session)
  end
end
