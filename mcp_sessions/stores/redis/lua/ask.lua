-- Somebody waits for the client's answer to a question: whether no more are waited for than may be. Nothing
-- if the session has ended.
-- uses: arguments sessions keeping questions

local session, name, waits_until, limit = unended(take()), take(), take(), take_number()
if not session then
  return false
end
if limit and others_than(session, name) >= limit then
  return 0
end
redis.call('HSET', at('questions', session.key), WAITED .. name, waits_until)
keep_until(at('questions', session.key), session.kept_until)
return 1
