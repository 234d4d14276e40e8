-- End sessions whose time has run out; as they were before.
-- uses: arguments sessions indexes ending

local now, limit, idle, expired = take_number(), take_number(), take(), take()
local found = {}
for _, place in ipairs(redis.call('ZRANGEBYSCORE', at('expiry'), '-inf', exact(now), 'LIMIT', 0, limit)) do
  local session = unended(key_in(place))
  if session then
    found[#found + 1] = record_of(session.key)
    end_session(session, session.expires_at, session.expires_at < session.timeout_at and idle or expired, now)
  else
    unindex(place)
  end
end
announce()
return found
