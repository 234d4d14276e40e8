-- A session wants to know of changes to a resource.
-- uses: arguments sessions keeping

local session, uri = unended(take()), take()
if session then
  redis.call('SADD', at('subscriptions', session.key), uri)
  redis.call('SADD', at('subscribers', uri), session.key)
  keep_until(at('subscriptions', session.key), session.kept_until)
  keep_at_least_until(at('subscribers', uri), session.kept_until)
end
