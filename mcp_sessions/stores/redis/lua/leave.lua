-- A worker ends: it is forgotten, or lost if it still has something.
-- uses: arguments keys losing

local worker = take()
if not redis.call('ZSCORE', at('workers'), worker) then
  return
end
if has_something(worker) then
  lose(worker)
else
  redis.call('ZREM', at('workers'), worker)
end
