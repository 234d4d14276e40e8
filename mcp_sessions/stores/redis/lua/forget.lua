-- A lost worker reads streams no more, some at a time, and is forgotten with the last of them: the
-- GET streams, as they were, and whether there are more.
-- uses: arguments sessions streams events moving losing ringing

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
announce()
return {left, is_more_left}
