-- Delete what nobody can ask for any more: how many streams.
-- uses: arguments streams sessions rotating once losing

-- What is done in one go, so that nobody waits for long.
local ROTATIONS, CALLS, NEWS = 1000, 1000, 10000

local before, limit, news_before = take_number(), take_number(), take_number()

local function delete_streams()
  local deleted = 0
  local left = redis.call('ZRANGEBYSCORE', at('idle'), '-inf', '(' .. exact(before), 'LIMIT', 0, limit)
  for _, name in ipairs(left) do
    local stream = stream_of(name)
    if stream then
      delete_stream(stream)
      deleted = deleted + 1
    else
      redis.call('ZREM', at('idle'), name)
    end
  end
  return deleted
end

-- Delete the entries that are older than an instant.
local function trim(key, instant, limit)
  for _, entry in ipairs(redis.call('XRANGE', key, '-', '+', 'COUNT', limit)) do
    local stored_at = tonumber(entry[2][4])
    if stored_at >= instant then
      return
    end
    redis.call('XDEL', key, entry[1])
  end
end

local function forget_rotations()
  local over = redis.call('ZRANGEBYSCORE', at('rotated'), '-inf', exact(clock()), 'LIMIT', 0, ROTATIONS)
  for _, key in ipairs(over) do
    forget_previous(key)
  end
end

-- A call that has no outcome, and whose worker is known, if only as lost, is looked for again when its time
-- is over once more.
local function forget_calls()
  local now = clock()
  local over = redis.call('ZRANGEBYSCORE', at('once'), '-inf', exact(now), 'LIMIT', 0, CALLS)
  for _, place in ipairs(over) do
    local key, name = string.match(place, '^(.-)\n(.*)$')
    local call = call_of(key, name)
    if call and call.outcome == '' and is_known(call.worker) then
      redis.call('ZADD', at('once'), exact(now + call.keep), place)
    else
      forget_call(key, name)
    end
  end
end

redis.call('ZREMRANGEBYSCORE', at('forgotten'), '-inf', '(' .. exact(before))
forget_rotations()
forget_calls()
trim(at('news'), clock() - news_before, NEWS)
return delete_streams()
