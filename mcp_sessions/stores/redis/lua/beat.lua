-- A worker is alive, if it still counts as such.
-- uses: arguments keys

local worker = take()
if not redis.call('ZSCORE', at('workers'), worker) then
  return 0
end
redis.call('ZADD', at('workers'), exact(clock()), worker)
return 1
