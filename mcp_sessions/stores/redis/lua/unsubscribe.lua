-- It wants to know no more.
-- uses: arguments sessions

local session, uri = unended(take()), take()
if session then
  redis.call('SREM', at('subscriptions', session.key), uri)
  redis.call('SREM', at('subscribers', uri), session.key)
end
