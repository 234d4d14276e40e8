-- Bells: one entry of news for each step that others may have to hear of.
-- uses: keys

-- A lost bell costs time and nothing else: so many are kept even if nobody sweeps.
local MAX_NEWS = 100000

local to_ring, is_rung = {}, {}

local function ring(name)
  if not is_rung[name] then
    is_rung[name] = true
    to_ring[#to_ring + 1] = name
  end
end

-- The first number comes from the clock. A Redis that has lost all it had begins again above what
-- it gave out before, and who listens behind that hears it.
local function next_news()
  local number = next_number('news')
  if number == 1 then
    number = math.floor(clock() / 1000)
    redis.call('HSET', at('counters'), 'news', exact(number))
  end
  return number
end

-- The last thing that a verb does.
local function announce()
  if #to_ring > 0 then
    local names = table.concat(to_ring, ' ')
    local id = entry_id(next_news())
    redis.call('XADD', at('news'), 'MAXLEN', '~', MAX_NEWS, id, 'names', names, 'at', exact(clock()))
  end
end
