-- Delete events that were delivered: how many.
-- uses: arguments streams events

local keep, before, size = take_number(), take_number(), take_number()

-- The answers in a batch's reply say which of its requests are still to be answered.
local function has_to_stay(stream)
  return stream.ended_at == '' and #cjson.decode(stream.request_ids) > 1
end

local function stays(stream, event)
  local is_new = position_of(event.id) > stream.position - keep and event.at >= before
  return is_new and stream.total - event.total + #event.data <= size
end

-- Events are stored in the order of their positions: behind the first that stays, all do.
local function trim(stream)
  local deleted, page = {}, nil
  local after, events, last = 0, at('events', stream.name), entry_id(stream.delivered)
  repeat
    page = redis.call('XRANGE', events, entry_id(after + 1), last, 'COUNT', 100)
    for _, entry in ipairs(page) do
      local event = event_of(entry)
      if stays(stream, event) then
        page = {}
        break
      end
      after = position_of(event.id)
      deleted[#deleted + 1] = event
    end
  until #page == 0
  if #deleted > 0 then
    delete_events(stream.name, deleted)
    save(stream, 'trimmed', after)
  end
  return #deleted
end

local deleted = 0
while is_more() do
  local stream = stream_of(take())
  if stream and not has_to_stay(stream) then
    deleted = deleted + trim(stream)
  end
end
return deleted
