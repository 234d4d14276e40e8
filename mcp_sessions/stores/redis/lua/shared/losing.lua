-- Workers that are lost, and those of them that are forgotten, by when that was.
-- uses: keys

local function lose(worker)
  redis.call('ZREM', at('workers'), worker)
  redis.call('ZADD', at('lost'), exact(clock()), worker)
end

local function is_known(worker)
  for _, kind in ipairs({'workers', 'lost', 'forgotten'}) do
    if redis.call('ZSCORE', at(kind), worker) then
      return true
    end
  end
end

-- Its name is kept for a while: it may have been stopped while it opened a stream, and go on.
local function forget(worker)
  redis.call('ZREM', at('lost'), worker)
  redis.call('ZREM', at('workers'), worker)
  redis.call('ZADD', at('forgotten'), exact(clock()), worker)
end

local function has_something(worker)
  return redis.call('EXISTS', at('writer', worker), at('reader', worker)) > 0
end
