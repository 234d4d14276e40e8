-- Live sessions of a server, in the order of their keys.
-- uses: arguments sessions

local server, now, after, limit = take(), take_number(), take(), take_number()
local found, page = {}, nil
repeat
  page = redis.call('ZRANGEBYLEX', at('keys', server), '(' .. after, '+', 'LIMIT', 0, limit)
  for _, key in ipairs(page) do
    local session = unended(key)
    if session and session.expires_at > now and #found < limit then
      found[#found + 1] = record_of(key)
    end
    after = key
  end
until #page == 0 or #found == limit
return found
