-- End sessions whose time has run out; as they were before.
-- uses: arguments sessions indexes ending

local now, limit, idle, expired, is_named = take_number(), take_number(), take(), take(), take_flag()
local found = {}

local function expire(session)
  found[#found + 1] = record_of(session.key)
  end_session(session, session.expires_at, session.expires_at < session.timeout_at and idle or expired, now)
end

while is_named and is_more() and #found < limit do
  local session = unended(take())
  if session and session.expires_at <= now then
    expire(session)
  end
end
local places = is_named and {} or redis.call('ZRANGEBYSCORE', at('expiry'), '-inf', exact(now), 'LIMIT', 0, limit)
for _, place in ipairs(places) do
  local session = unended(key_in(place))
  if session then
    expire(session)
  else
    unindex(place)
  end
end
announce()
return found
