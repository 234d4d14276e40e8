-- Calls that happen once: of each session a hash, by what names the call. A call is a list of strings.
-- uses: keys sessions keeping
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
