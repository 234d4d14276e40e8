-- A session wants to know of changes to a resource.
-- uses: arguments sessions keeping

local session, uri, limit = unended(take()), take(), take_number()
if session then
  local mine = at('subscriptions', session.key)
  if limit and redis.call('SCARD', mine) - redis.call('SISMEMBER', mine, uri) >= limit then
    return 0
  end
  redis.call('SADD', mine, uri)
  redis.call('SADD', at('subscribers', uri), session.key)
  keep_until(mine, session.kept_until)
  keep_at_least_until(at('subscribers', uri), session.kept_until)
end
return 1
