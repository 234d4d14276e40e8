-- How many sessions live, of all servers.
-- uses: arguments keys

return redis.call('ZCOUNT', at('expiry'), '(' .. take(), '+inf')
