-- Put a message into a session's inbox; one to a question only while somebody waits for its answer.
-- uses: arguments sessions posting questions ringing

local session, message, question, answers = unended(take()), take(), take(), take_flag()
local questions = session and at('questions', session.key)
if not session or question ~= '' and redis.call('HEXISTS', questions, WAITED .. question) == 0 then
  return 0
end
if question ~= '' then
  forget_said(session, question)
end
post(session, message)
if question ~= '' then
  redis.call('HSET', questions, SAID .. question, exact(session.inbox))
end
if answers then
  redis.call('HDEL', questions, WAITED .. question)
end
announce()
return 1
