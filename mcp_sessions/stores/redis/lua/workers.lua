-- Workers, what has changed for them, the limits that they share, and what is deleted.

--- part lost_workers: keys
-- Workers that are lost, and those of them that are forgotten, by when that was.

local function lose(worker)
  redis.call('ZREM', at('workers'), worker)
  redis.call('ZADD', at('lost'), exact(clock()), worker)
end

local function is_known(worker)
  for _, kind in ipairs({'workers', 'lost', 'forgotten'}) do
    if redis.call('ZSCORE', at(kind), worker) then
      return true
    end
  end
end

-- Its name is kept for a while: it may have been stopped while it opened a stream, and go on.
local function forget(worker)
  redis.call('ZREM', at('lost'), worker)
  redis.call('ZREM', at('workers'), worker)
  redis.call('ZADD', at('forgotten'), exact(clock()), worker)
end

local function has_something(worker)
  return redis.call('EXISTS', at('writer', worker), at('reader', worker)) > 0
end


--- script now: keys
-- The time, in microseconds since the epoch.

return exact(clock())


--- script enlist: arguments keys
-- A worker begins.
--
-- workers has those that beat, by the last time; lost those that do not, by the latest instant at
-- which they may have sent something.

redis.call('ZADD', at('workers'), exact(clock()), take())


--- script beat: arguments keys
-- A worker is alive, if it still counts as such.

local worker = take()
if not redis.call('ZSCORE', at('workers'), worker) then
  return 0
end
redis.call('ZADD', at('workers'), exact(clock()), worker)
return 1


--- script find_lost: arguments keys lost_workers
-- The workers that have not beaten for so long, and those that were lost before and are not forgotten, or have something.

local timeout = take_number()
local late = redis.call('ZRANGEBYSCORE', at('workers'), '-inf', '(' .. exact(clock() - timeout))
for _, worker in ipairs(late) do
  lose(worker)
end
local found = redis.call('ZRANGE', at('lost'), 0, -1)
for _, worker in ipairs(redis.call('ZRANGE', at('forgotten'), 0, -1)) do
  if has_something(worker) then
    found[#found + 1] = worker
  end
end
return found


--- script take_over: arguments streams
-- Make another worker the writer of streams of a lost one: how many, and whether that is all it had to write.

local lost, worker, limit = take(), take(), take_number()
local count = 0
for _, name in ipairs(redis.call('SMEMBERS', at('writer', lost))) do
  local stream = stream_of(name)
  if count == limit then
    break
  elseif stream then
    assign(stream, 'writer', worker)
    count = count + 1
  else
    unassign(name, 'writer', lost)
  end
end
return {count, redis.call('EXISTS', at('writer', lost)) == 0}


--- script forget: arguments sessions streams events moves lost_workers changes
-- A lost worker reads streams no more, some at a time, and is forgotten with the last of them: the
-- GET streams, as they were, and whether there are more.

local lost, limit = take(), take_number()

local function leave_some()
  local left, names = {}, {}
  for i, name in ipairs(redis.call('SMEMBERS', at('reader', lost))) do
    local stream = i <= limit and stream_of(name)
    if stream then
      names[#names + 1] = name
      left[#left + 1] = stream.kind == 'get' and stream_record(stream) or nil
      leave(stream)
    elseif i <= limit then
      unassign(name, 'reader', lost)
    end
  end
  hand_over(names)
  return left
end

if not is_known(lost) then
  -- Another worker was quicker.
  return {{}, 0}
end
local left = leave_some()
local is_more_left = redis.call('EXISTS', at('reader', lost))
if is_more_left == 0 then
  forget(lost)
end
add_change()
return {left, is_more_left}


--- script leave: arguments keys lost_workers
-- A worker ends: it is forgotten, or lost if it still has something.

local worker = take()
if not redis.call('ZSCORE', at('workers'), worker) then
  return
end
if has_something(worker) then
  lose(worker)
else
  redis.call('ZREM', at('workers'), worker)
end


--- script notify: arguments changes
-- Tell every process of names.

while is_more() do
  changed(take())
end
add_change()


--- script changes: arguments keys
-- Every change behind a number.

local found = {}
for i, entry in ipairs(redis.call('XRANGE', at('changes'), entry_id(take_number() + 1), '+')) do
  found[i] = {position_of(entry[1]), entry[2][2]}
end
return found


--- script last_change: arguments keys
-- The number of the last change before an instant.

local before = take_number()
local last = tonumber(redis.call('HGET', at('counters'), 'changes') or 0)
local page
repeat
  page = redis.call('XREVRANGE', at('changes'), entry_id(last), '-', 'COUNT', 100)
  for _, entry in ipairs(page) do
    if tonumber(entry[2][4]) < before then
      return position_of(entry[1])
    end
    last = position_of(entry[1]) - 1
  end
until #page == 0
return last


--- script charge: arguments keys
-- Count calls against a rate limit: whether those that ask are admitted, and how far its TAT is ahead.

local limit = at('rate', take())
local interval, burst, spent, cost = take_number(), take_number(), take_number(), take_number()
local now = clock()

local tat = math.max(tonumber(find('GET', limit) or '') or 0, now) + spent * interval
local is_admitted = tat + cost * interval <= now + burst * interval
if is_admitted then
  tat = tat + cost * interval
end
redis.call('SET', limit, exact(tat), 'PX', exact(math.ceil((tat - now) / 1000) + 1))
return {is_admitted and 1 or 0, exact(tat - now)}


--- script delete_unreachable: arguments streams sessions previous_ids calls lost_workers requests
-- Delete what nobody can ask for any more: how many streams.

-- What is done in one go, so that nobody waits for long.
local ROTATIONS, CALLS, REQUESTS, CHANGES = 1000, 1000, 1000, 10000

local before, limit, changes_before = take_number(), take_number(), take_number()

local function delete_streams()
  local deleted = 0
  local left = redis.call('ZRANGEBYSCORE', at('idle'), '-inf', '(' .. exact(before), 'LIMIT', 0, limit)
  for _, name in ipairs(left) do
    local stream = stream_of(name)
    if stream then
      delete_stream(stream)
      deleted = deleted + 1
    else
      redis.call('ZREM', at('idle'), name)
    end
  end
  return deleted
end

-- Delete the entries that are older than an instant.
local function trim(key, instant, limit)
  for _, entry in ipairs(redis.call('XRANGE', key, '-', '+', 'COUNT', limit)) do
    local stored_at = tonumber(entry[2][4])
    if stored_at >= instant then
      return
    end
    redis.call('XDEL', key, entry[1])
  end
end

local function forget_rotations()
  local over = redis.call('ZRANGEBYSCORE', at('rotated'), '-inf', exact(clock()), 'LIMIT', 0, ROTATIONS)
  for _, key in ipairs(over) do
    forget_previous(key)
  end
end

-- A call that has no outcome, and whose worker is known, if only as lost, is looked for again when its time
-- is over once more.
local function forget_overdue_calls()
  local now = clock()
  local over = redis.call('ZRANGEBYSCORE', at('once'), '-inf', exact(now), 'LIMIT', 0, CALLS)
  for _, place in ipairs(over) do
    local key, name = string.match(place, '^(.-)\n(.*)$')
    local call = call_of(key, name)
    if call and call.outcome == '' and is_known(call.worker) then
      redis.call('ZADD', at('once'), exact(now + call.keep), place)
    else
      forget_call(key, name)
    end
  end
end

-- Those that nobody waits for any more.
local function forget_overdue_requests()
  local overdue = redis.call('ZRANGEBYSCORE', at('pending'), '-inf', exact(clock()), 'LIMIT', 0, REQUESTS)
  for _, place in ipairs(overdue) do
    forget_request(string.match(place, '^(.-)\n(.*)$'))
  end
end

redis.call('ZREMRANGEBYSCORE', at('forgotten'), '-inf', '(' .. exact(before))
forget_rotations()
forget_overdue_calls()
forget_overdue_requests()
trim(at('changes'), clock() - changes_before, CHANGES)
return delete_streams()
