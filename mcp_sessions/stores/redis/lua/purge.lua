-- Delete sessions that have ended, with all that is theirs.
-- uses: arguments sessions indexes streams rotating once ringing

local function delete_session(key)
  for _, name in ipairs(redis.call('SMEMBERS', at('streams', key))) do
    local stream = stream_of(name)
    if stream then
      delete_stream(stream)
    end
  end
  for _, uri in ipairs(redis.call('SMEMBERS', at('subscriptions', key))) do
    redis.call('SREM', at('subscribers', uri), key)
  end
  forget_previous(key)
  forget_calls(key)
  local digest = pick(key, 'digest')
  redis.call('DEL', at('session', key), at('id', digest or ''), at('streams', key), at('open', key),
    at('subscriptions', key), at('pending', key))
  ring(key)
end

local before, limit, is_named = take(), take_number(), take_flag()
local deleted = 0
while is_named and is_more() and deleted < limit do
  local key = take()
  local ended_at = session_of(key) and tonumber(pick(key, 'ended_at') or '')
  if ended_at and ended_at <= tonumber(before) then
    -- Its place among the ended is removed by the purge that comes to it.
    delete_session(key)
    deleted = deleted + 1
  end
end
if is_named then
  announce()
  return deleted
end
for _, place in ipairs(redis.call('ZRANGEBYSCORE', at('ended'), '-inf', before, 'LIMIT', 0, limit)) do
  if session_of(key_in(place)) then
    delete_session(key_in(place))
    deleted = deleted + 1
  end
  unindex_ended(place)
end
announce()
return deleted
