-- Count calls against a rate limit: whether those that ask are admitted, and how far its TAT is ahead.
-- uses: arguments keys

local limit = at('rate', take())
local interval, burst, spent, cost = take_number(), take_number(), take_number(), take_number()
local now = clock()

local tat = math.max(tonumber(find('GET', limit) or '') or 0, now) + spent * interval
local is_admitted = tat + cost * interval <= now + burst * interval
if is_admitted then
  tat = tat + cost * interval
end
redis.call('SET', limit, exact(tat), 'PX', exact(math.ceil((tat - now) / 1000) + 1))
return {is_admitted and 1 or 0, exact(tat - now)}
