-- The workers that have not beaten for so long, and those that were lost before.
-- uses: arguments keys losing

local timeout = take_number()
local late = redis.call('ZRANGEBYSCORE', at('workers'), '-inf', '(' .. exact(clock() - timeout))
for _, worker in ipairs(late) do
  lose(worker)
end
return redis.call('ZRANGE', at('lost'), 0, -1)
