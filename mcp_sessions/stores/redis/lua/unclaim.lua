-- A call that was to happen once has not happened: the next claim is to run it.
-- uses: arguments sessions once

local session, name, token = unended(take()), take(), take()
local call = session and call_of(session.key, name)
if call and call.token == token and call.outcome == '' then
  forget_call(session.key, name)
end
return 1
