-- Put a message into a session's inbox.
-- uses: arguments sessions posting ringing

local session, message = unended(take()), take()
if not session then
  return 0
end
post(session, message)
announce()
return 1
