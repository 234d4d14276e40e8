-- The workers that have not beaten for so long, and those that were lost before and are not forgotten, or have something.
-- uses: arguments keys losing

local timeout = take_number()
local late = redis.call('ZRANGEBYSCORE', at('workers'), '-inf', '(' .. exact(clock() - timeout))
for _, worker in ipairs(late) do
  lose(worker)
end
local found = redis.call('ZRANGE', at('lost'), 0, -1)
for _, worker in ipairs(redis.call('ZRANGE', at('forgotten'), 0, -1)) do
  if has_something(worker) then
    found[#found + 1] = worker
  end
end
return found
