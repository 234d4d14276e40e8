-- The arguments of a verb, taken one after the other. The first is the prefix of all keys.

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
