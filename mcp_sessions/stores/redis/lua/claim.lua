-- Claim a call that happens once: {'mine', ''}, {'running', ''}, {'settled', outcome} or {'full', ''}. Nothing
-- if the session has ended.
-- uses: arguments sessions once

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
