-- Take a session's data for editing: {data}, 'busy', or nothing if the session is over.
-- uses: arguments sessions

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
