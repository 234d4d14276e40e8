-- A worker begins.
-- uses: arguments keys
--
-- workers has those that beat, by the last time; lost those that do not, by the latest instant at
-- which they may have sent something.

redis.call('ZADD', at('workers'), exact(clock()), take())
