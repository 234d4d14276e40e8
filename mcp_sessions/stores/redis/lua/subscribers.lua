-- {where the next are, some}: live sessions that are subscribed to a resource. '0': there are no more.
-- uses: arguments sessions

-- About so many at a time, so that nobody waits for long; one may come twice.
local PAGE = 200

local uri, now, cursor = take(), take_number(), take()
local page = redis.call('SSCAN', at('subscribers', uri), cursor, 'COUNT', PAGE)
local found = {}
for _, key in ipairs(page[2]) do
  local session = unended(key)
  if not session then
    -- It has ended, or Redis has let it go.
    redis.call('SREM', at('subscribers', uri), key)
  elseif session.expires_at > now then
    found[#found + 1] = record_of(key)
  end
end
return {page[1], found}
