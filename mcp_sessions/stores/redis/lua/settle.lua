-- Store the outcome of a call that happens once: whether it is the claim's.
-- uses: arguments sessions once

local session, name, token, outcome = unended(take()), take(), take(), take()
local call = session and call_of(session.key, name)
if not call or call.token ~= token then
  return 0
end
if call.outcome == '' then
  call.outcome = outcome
  save_call(session, name, call)
end
return call.outcome == outcome and 1 or 0
