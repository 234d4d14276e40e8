-- Nobody waits for an answer any more.
-- uses: arguments sessions questions

local session, name = unended(take()), take()
if session then
  forget_question(session, name)
end
