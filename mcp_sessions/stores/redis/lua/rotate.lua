-- Give a session another id: 'taken' if that is another session's.
-- uses: arguments sessions indexes keeping inboxes rotating ringing

local session, before = unended(take()), take()
local digest, until_instant, sealed_id = take(), take_number(), take()
local changes_owner, owner, principal, message = take_flag(), take(), take(), take()

local function set_owner()
  unindex(place_of(session))
  session.principal = principal
  redis.call('HSET', at('session', session.key), 'owner', owner, 'principal', principal)
  index(session)
end

if not session or session.digest ~= before then
  return 0
end
if redis.call('EXISTS', at('id', digest)) > 0 then
  return 'taken'
end
forget_previous(session.key)
redis.call('HSET', at('session', session.key), 'digest', digest,
  'previous_digest', before, 'previous_until', exact(until_instant), 'sealed_id', sealed_id)
redis.call('SET', at('id', digest), session.key)
keep_until(at('id', digest), session.kept_until)
redis.call('ZADD', at('rotated'), exact(until_instant), session.key)
if changes_owner then
  set_owner()
end
put(session, '', message)
announce()
return 1
