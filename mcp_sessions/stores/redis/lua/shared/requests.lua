-- Requests to clients that are waited to be answered: a hash for each session, of until when each is waited for,
-- and of where in the inbox the last message for it is.
-- uses: keys sessions

local WAITED, SAID = 'w:', 's:'

-- As records.CALL has it.
local CALL = 'call-'

local function is_pending(session, name)
  return redis.call('HEXISTS', at('pending', session.key), WAITED .. name) == 1
end

-- Its message is read no more.
local function forget_message(session, name)
  local said = redis.call('HGET', at('pending', session.key), SAID .. name)
  if said then
    redis.call('XDEL', at('events', session.key), entry_id(tonumber(said)))
  end
end

local function note_message(session, name)
  redis.call('HSET', at('pending', session.key), SAID .. name, exact(session.inbox))
end

local function set_answered(session, name)
  redis.call('HDEL', at('pending', session.key), WAITED .. name)
end

local function forget_request(session, name)
  forget_message(session, name)
  redis.call('HDEL', at('pending', session.key), WAITED .. name, SAID .. name)
end

-- How many others are pending, but for calls. Those for which nobody has waited for long are forgotten by the way.
local function others_than(session, name)
  local fields, count = redis.call('HGETALL', at('pending', session.key)), 0
  for i = 1, #fields, 2 do
    local other = string.match(fields[i], '^' .. WAITED .. '(.*)$')
    if other and other ~= name and tonumber(fields[i + 1]) <= clock() then
      forget_request(session, other)
    elseif other and other ~= name and string.sub(other, 1, #CALL) ~= CALL then
      count = count + 1
    end
  end
  return count
end
