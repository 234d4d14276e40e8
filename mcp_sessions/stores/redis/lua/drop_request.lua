-- Nobody waits for an answer any more.
-- uses: arguments sessions requests

local session, name = unended(take()), take()
if session then
  forget_request(session, name)
end
