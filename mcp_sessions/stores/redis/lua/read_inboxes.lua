-- What is new in sessions' inboxes: {key, reason of its end or nothing, messages} of each that has
-- something new.
-- uses: arguments sessions

local function messages_behind(key, position)
  local found = {}
  for i, entry in ipairs(redis.call('XRANGE', at('inbox', key), entry_id(position + 1), '+')) do
    found[i] = {position_of(entry[1]), entry[2][2]}
  end
  return found
end

local found = {}
while is_more() do
  local key, position = take(), take_number()
  local session = session_of(key)
  if not session then
    found[#found + 1] = {key, 'gone', {}}
  elseif session.ended_at or session.inbox > position then
    local reason = session.ended_at and pick(key, 'end_reason')
    found[#found + 1] = {key, reason, messages_behind(key, position)}
  end
end
return found
