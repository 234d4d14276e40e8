-- What the clients of sessions were asked: a hash each, of when a question is waited for no more, and of where
-- in the inbox the last message is that was posted to it.
-- uses: keys sessions

local WAITED, SAID = 'w:', 's:'

-- As records.CALL has it.
local CALL = 'call-'

-- What was posted to it is read no more.
local function forget_said(session, name)
  local said = redis.call('HGET', at('questions', session.key), SAID .. name)
  if said then
    redis.call('XDEL', at('inbox', session.key), entry_id(tonumber(said)))
  end
end

local function forget_question(session, name)
  forget_said(session, name)
  redis.call('HDEL', at('questions', session.key), WAITED .. name, SAID .. name)
end

-- How many others are waited for, but for calls. Those for which nobody has waited for long are forgotten by the way.
local function others_than(session, name)
  local fields, count = redis.call('HGETALL', at('questions', session.key)), 0
  for i = 1, #fields, 2 do
    local other = string.match(fields[i], '^' .. WAITED .. '(.*)$')
    if other and other ~= name and tonumber(fields[i + 1]) <= clock() then
      forget_question(session, other)
    elseif other and other ~= name and string.sub(other, 1, #CALL) ~= CALL then
      count = count + 1
    end
  end
  return count
end
