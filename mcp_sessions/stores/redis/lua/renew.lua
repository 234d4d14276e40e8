-- Keep a lease longer.
-- uses: arguments sessions

local session, token, lease_until = unended(take()), take(), take()
if not session or pick(session.key, 'lease_token') ~= token then
  return 0
end
redis.call('HSET', at('session', session.key), 'lease_until', lease_until)
return 1
