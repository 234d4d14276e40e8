-- Somebody waits for the client's answer to a request: whether no more are pending than may be. Nothing
-- if the session has ended.
-- uses: arguments sessions keeping requests

local session, name, waits_until, limit = unended(take()), take(), take(), take_number()
if not session then
  return false
end
if limit and others_than(session, name) >= limit then
  return 0
end
redis.call('HSET', at('pending', session.key), WAITED .. name, waits_until)
keep_until(at('pending', session.key), session.kept_until)
return 1
