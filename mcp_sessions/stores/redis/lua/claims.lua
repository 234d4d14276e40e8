-- Calls that happen once.

--- part calls: keys sessions retention
-- Calls that happen once: of each session a hash, by what names the call. A call is a list of strings.
--
-- once   all of them, by when their time is over; a member says whose it is

local function place_of_call(key, name)
  return key .. '\n' .. name
end

local function read_call(found)
  local token, worker, keep, expires_at, outcome = unpack(cjson.decode(found))
  return {
    token = token, worker = worker, keep = tonumber(keep), expires_at = tonumber(expires_at), outcome = outcome,
  }
end

-- nil if it is not there.
local function call_of(key, name)
  local found = redis.call('HGET', at('once', key), name)
  return found and read_call(found) or nil
end

local function save_call(session, name, call)
  call.expires_at = clock() + call.keep
  local values = {call.token, call.worker, exact(call.keep), exact(call.expires_at), call.outcome}
  redis.call('HSET', at('once', session.key), name, cjson.encode(values))
  redis.call('ZADD', at('once'), exact(call.expires_at), place_of_call(session.key, name))
  keep_until(at('once', session.key), session.kept_until)
end

local function forget_call(key, name)
  redis.call('HDEL', at('once', key), name)
  redis.call('ZREM', at('once'), place_of_call(key, name))
end

local function forget_calls(key)
  for _, name in ipairs(redis.call('HKEYS', at('once', key))) do
    redis.call('ZREM', at('once'), place_of_call(key, name))
  end
  redis.call('DEL', at('once', key))
end

-- Whether the worker that runs it lives.
local function is_run(call)
  return call.outcome == '' and redis.call('ZSCORE', at('workers'), call.worker)
end

local function is_over(call)
  return call.expires_at <= clock()
end


--- script claim: arguments sessions calls
-- Claim a call that happens once: {'mine', ''}, {'running', ''}, {'settled', outcome} or {'full', ''}. Nothing
-- if the session has ended.

local session, name, worker, token = unended(take()), take(), take(), take()
local keep, limit, runs_again, if_lost = take_number(), take_number(), take_flag(), take()

local function run()
  save_call(session, name, {token = token, worker = worker, keep = keep, outcome = ''})
  return {'mine', ''}
end

-- How many calls of the session run or have an outcome. Those whose time is over are forgotten by the way.
local function count_kept()
  local fields, count = redis.call('HGETALL', at('once', session.key)), 0
  for i = 1, #fields, 2 do
    local call = read_call(fields[i + 1])
    if call.outcome ~= '' and is_over(call) then
      forget_call(session.key, fields[i])
    else
      count = count + 1
    end
  end
  return count
end

if not session then
  return false
end
local call = call_of(session.key, name)
if not call then
  -- What is there is counted only if there may be too many.
  local is_full = limit and redis.call('HLEN', at('once', session.key)) >= limit and count_kept() >= limit
  return is_full and {'full', ''} or run()
end
if call.outcome ~= '' and not is_over(call) then
  return {'settled', call.outcome}
end
if call.outcome == '' and call.token ~= token and is_run(call) then
  return {'running', ''}
end
if call.outcome ~= '' or call.token == token or runs_again then
  return run()
end
call.outcome = if_lost
save_call(session, name, call)
return {'settled', if_lost}


--- script settle: arguments sessions calls
-- Store the outcome of a call that happens once: whether it is the claim's. Nothing if the session
-- has ended.

local session, name, token, outcome = unended(take()), take(), take(), take()
if not session then
  return false
end
local call = call_of(session.key, name)
if not call or call.token ~= token then
  return 0
end
if call.outcome == '' then
  call.outcome = outcome
  save_call(session, name, call)
end
return call.outcome == outcome and 1 or 0


--- script unclaim: arguments sessions calls
-- A call that was to happen once has not happened: the next claim is to run it.

local session, name, token = unended(take()), take(), take()
local call = session and call_of(session.key, name)
if call and call.token == token and call.outcome == '' then
  forget_call(session.key, name)
end
return 1
