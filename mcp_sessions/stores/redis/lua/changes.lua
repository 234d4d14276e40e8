-- Every ring behind a number.
-- uses: arguments keys

local found = {}
for i, entry in ipairs(redis.call('XRANGE', at('news'), entry_id(take_number() + 1), '+')) do
  found[i] = {position_of(entry[1]), entry[2][2]}
end
return found
