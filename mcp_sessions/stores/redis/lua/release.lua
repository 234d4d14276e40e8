-- Give a lease back, and write the data if there is any; nothing if the session has ended.
-- uses: arguments sessions

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
