-- Live sessions of a server that end soon and were not warned of it, the first to end first.
-- uses: arguments sessions

local server, now, before, limit = take(), take_number(), take_number(), take_number()
local from, to = '(' .. exact(now), exact(before)
local found, passed, page = {}, 0, nil
repeat
  page = redis.call('ZRANGEBYSCORE', at('live', server), from, to, 'LIMIT', passed, limit)
  passed = passed + #page
  for _, key in ipairs(page) do
    local session = unended(key)
    local warned_for = session and tonumber(pick(key, 'warned_for') or '') or -math.huge
    if session and warned_for < session.expires_at and #found < limit then
      found[#found + 1] = record_of(key)
    end
  end
until #page == 0 or #found == limit
return found
