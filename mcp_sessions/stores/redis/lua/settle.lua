-- Store the outcome of a call that happens once: whether it is the claim's. Nothing if the session
-- has ended.
-- uses: arguments sessions once

local session, name, token, outcome = unended(take()), take(), take(), take()
if not session then
  return false
end
local call = call_of(session.key, name)
if not call or call.token ~= token then
  return 0
end
if call.outcome == '' then
  call.outcome = outcome
  save_call(session, name, call)
end
return call.outcome == outcome and 1 or 0
