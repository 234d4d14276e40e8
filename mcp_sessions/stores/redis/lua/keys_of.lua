-- Keys of live sessions of one principal of a server.
-- uses: arguments sessions

local server, principal, now, limit = take(), take(), take_number(), take_number()
local found, passed, page = {}, 0, nil
repeat
  local group = at('live', principal .. '@' .. server)
  page = redis.call('ZRANGEBYSCORE', group, '(' .. exact(now), '+inf', 'LIMIT', passed, limit)
  passed = passed + #page
  for _, key in ipairs(page) do
    if unended(key) and #found < limit then
      found[#found + 1] = key
    end
  end
until #page == 0 or #found == limit
return found
