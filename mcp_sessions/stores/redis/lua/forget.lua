-- A lost worker reads streams no more, some at a time, and is forgotten with the last of them: the
-- GET streams, as they were, and whether there are more.
-- uses: arguments sessions streams events moving losing ringing

local lost, limit, guide, priming_since = take(), take_number(), take(), take()

-- records.has_place_from_start(), of metadata as it is kept: JSON.
local function has_place_from_start(key)
  local dialect, version = pick(key, 'm:dialect', 'm:protocol_version')
  return dialect == guide or (version or '') >= priming_since
end

-- Leave in a stream what its dead reader may have sent: who resumes it says what has arrived. Who
-- has been sent no event id has nothing to come back with, and gets all of it elsewhere.
local function keep_uncertain(stream, sent_until)
  if stream.kind ~= 'get' or stream.delivered == 0 and not has_place_from_start(stream.session) then
    return
  end
  local delivered = stream.delivered
  for _, event in ipairs(events_between(stream.name, delivered)) do
    if event.at <= sent_until then
      delivered = position_of(event.id)
    end
  end
  save(stream, 'delivered', delivered)
end

local function leave_some(sent_until)
  local left, names = {}, {}
  for i, name in ipairs(redis.call('SMEMBERS', at('reader', lost))) do
    local stream = i <= limit and stream_of(name)
    if stream then
      names[#names + 1] = name
      left[#left + 1] = stream.kind == 'get' and stream_record(stream) or nil
      keep_uncertain(stream, sent_until)
      leave(stream)
    elseif i <= limit then
      unassign(name, 'reader', lost)
    end
  end
  hand_over(names)
  return left
end

local sent_until = last_sent_at(lost)
if not sent_until then
  return {{}, 0}
end
local left = leave_some(sent_until)
local is_more_left = redis.call('EXISTS', at('reader', lost))
if is_more_left == 0 then
  redis.call('ZREM', at('lost'), lost)
  redis.call('ZREM', at('workers'), lost)
end
announce()
return {left, is_more_left}
