-- What every script uses: keys, arguments, and the changes that other processes learn of.

--- part keys
-- Keys, and how values are written under them.

local PREFIX = ARGV[1] .. ':'

local function at(kind, name)
  return name and PREFIX .. kind .. ':' .. name or PREFIX .. kind
end

-- Microseconds since the epoch, by the clock that all workers share. Like positions they are
-- whole numbers below 2^53, which is as far as Lua's numbers are exact.
local function clock()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000000 + tonumber(time[2])
end

-- What a command finds. nil where somebody has put something of another type.
local function find(...)
  local found = redis.pcall(...)
  if type(found) ~= 'table' or not found.err then
    return found
  end
  if not string.find(found.err, 'WRONGTYPE', 1, true) then
    error(found.err)
  end
end

-- A number as text: left to itself Lua writes large ones with an exponent.
local function exact(number)
  return string.format('%.0f', number)
end

local function written(value)
  return type(value) == 'number' and exact(value) or value
end

-- The id of an entry of a Redis stream, whose positions are ours.
local function entry_id(position)
  return exact(position) .. '-0'
end

local function position_of(id)
  return tonumber(string.match(id, '^(%d+)-'))
end

local function next_number(name)
  return redis.call('HINCRBY', at('counters'), name, 1)
end


--- part arguments
-- The arguments of a script, taken one after the other. The first is the prefix of all keys.

local taken = 1

local function take()
  taken = taken + 1
  return ARGV[taken]
end

-- nil for an empty argument, which is how None comes here.
local function take_number()
  return tonumber(take())
end

local function take_flag()
  return take() ~= ''
end

local function is_more()
  return taken < #ARGV
end

-- All that is left are names and values of a hash. Lua hands over only so many at a time.
local function save_rest(key)
  while is_more() do
    local last = math.min(taken + 1000, #ARGV)
    redis.call('HSET', key, unpack(ARGV, taken + 1, last))
    taken = last
  end
end


--- part changes: keys
-- Changes: one entry for each script that other processes may have to learn of.

-- A lost change costs time and nothing else: so many are kept even if nobody deletes old ones.
local MAX_CHANGES = 100000

local changed_names, is_changed = {}, {}

local function changed(name)
  if not is_changed[name] then
    is_changed[name] = true
    changed_names[#changed_names + 1] = name
  end
end

-- The first number comes from the clock. A Redis that has lost all it had begins again above what
-- it gave out before. So a process that reads behind that number misses nothing.
local function next_change()
  local number = next_number('changes')
  if number == 1 then
    number = math.floor(clock() / 1000)
    redis.call('HSET', at('counters'), 'changes', exact(number))
  end
  return number
end

-- The last thing that a script does.
local function add_change()
  if #changed_names > 0 then
    local names = table.concat(changed_names, ' ')
    local id = entry_id(next_change())
    redis.call('XADD', at('changes'), 'MAXLEN', '~', MAX_CHANGES, id, 'names', names, 'at', exact(clock()))
  end
end
