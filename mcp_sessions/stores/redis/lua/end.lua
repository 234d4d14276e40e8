-- End a session, once.
-- uses: arguments sessions ending

local session = unended(take())
if not session then
  return 0
end
local ended_at, reason = take_number(), take()
end_session(session, ended_at, reason, ended_at)
announce()
return 1
