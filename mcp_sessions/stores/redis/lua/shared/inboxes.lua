-- The inbox of a session: a stream under the session's key, which is made when something is put there.
-- uses: keys sessions streams events ringing
--
-- The session has its position, too: an inbox that is not used is deleted, and goes on from there.

-- As records.INBOX_KEPT has it.
local KEPT = 200

local function open_inbox(session)
  local inbox = open(session, session.key, 'inbox', '', '[]')
  save(inbox, 'position', session.inbox)
  save(inbox, 'trimmed', session.inbox)
  inbox.is_new = true
  return inbox
end

local function trim(inbox)
  local last = inbox.position - KEPT
  if last > inbox.trimmed then
    delete_events(inbox.name, events_between(inbox.name, inbox.trimmed, last))
    save(inbox, 'trimmed', last)
  end
end

-- `request` is the pending request that the message belongs to, or ''.
local function put(session, request, message)
  local inbox, now = stream_of(session.key) or open_inbox(session), clock()
  add(inbox, {name = request, data = message, at = now, order = 0})
  save_grown(inbox)
  save(inbox, 'idle_since', exact(now))
  settle(inbox)
  trim(inbox)
  session.inbox = inbox.position
  redis.call('HSET', at('session', session.key), 'inbox', exact(session.inbox))
  ring(session.key)
end

-- The inbox of a session in which nothing was put, or that was deleted because nobody used it.
local function unopened_inbox(key)
  local session = session_of(key)
  return session and {
    name = key, session = key, kind = 'inbox', position = session.inbox, delivered = 0,
    ended_at = session.ended_at or '', request_ids = '[]', writer = '', reader = '', attached_at = '',
    created_at = exact(session.created_at), trimmed = session.inbox,
  }
end
