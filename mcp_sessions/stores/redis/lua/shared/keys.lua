-- Where everything is, and how it is written there.

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

-- Where an entry of a stream is whose positions are ours.
local function entry_id(position)
  return exact(position) .. '-0'
end

local function position_of(id)
  return tonumber(string.match(id, '^(%d+)-'))
end

local function next_number(name)
  return redis.call('HINCRBY', at('counters'), name, 1)
end
