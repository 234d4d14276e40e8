-- The number of the last change before an instant.
-- uses: arguments keys

local before = take_number()
local last = tonumber(redis.call('HGET', at('counters'), 'news') or 0)
local page
repeat
  page = redis.call('XREVRANGE', at('news'), entry_id(last), '-', 'COUNT', 100)
  for _, entry in ipairs(page) do
    if tonumber(entry[2][4]) < before then
      return position_of(entry[1])
    end
    last = position_of(entry[1]) - 1
  end
until #page == 0
return last
