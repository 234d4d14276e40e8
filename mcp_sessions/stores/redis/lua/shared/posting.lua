-- Inboxes: a Redis stream each, whose ids are the positions.
-- uses: keys sessions keeping ringing

-- As records.INBOX_KEPT has it.
local KEPT = 200

local function post(session, message)
  local now = exact(clock())
  local inbox = at('inbox', session.key)
  session.inbox = redis.call('HINCRBY', at('session', session.key), 'inbox', 1)
  redis.call('XADD', inbox, 'MAXLEN', KEPT, entry_id(session.inbox), 'message', message, 'at', now)
  if session.inbox == 1 then
    keep_until(inbox, session.kept_until)
  end
  -- Where the sweep finds old messages: by the oldest in each inbox.
  redis.call('ZADD', at('inboxes'), 'NX', now, session.key)
  ring(session.key)
end
