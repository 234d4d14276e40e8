-- Claim the warning of one end of a session.
-- uses: arguments sessions

local session, expires_at = unended(take()), take_number()
if not session or expires_at <= (tonumber(pick(session.key, 'warned_for') or '') or -math.huge) then
  return 0
end
redis.call('HSET', at('session', session.key), 'warned_for', exact(expires_at))
return 1
