-- The session whose id has this digest.
-- uses: arguments sessions

local digest = take()
local key = find('GET', at('id', digest))
if not key then
  return false
end
local found = record_of(key)
if not found then
  -- Redis has let the session go.
  redis.call('DEL', at('id', digest))
end
return found
