-- Workers that are lost.
-- uses: keys

local function lose(worker)
  redis.call('ZREM', at('workers'), worker)
  redis.call('ZADD', at('lost'), exact(clock()), worker)
end

local function is_known(worker)
  return redis.call('ZSCORE', at('lost'), worker) or redis.call('ZSCORE', at('workers'), worker)
end
