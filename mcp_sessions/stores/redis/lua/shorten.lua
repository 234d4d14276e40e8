-- Delete events that were delivered: how many.
-- uses: arguments streams events

local keep, before = take_number(), take_number()

-- The answers in a batch's reply say which of its requests are still to be answered.
local function is_batch(stream)
  return stream.kind == 'post' and string.find(stream.request_ids, ',', 1, true)
end

-- Events are stored in the order of their positions: behind the first that stays, all do.
local function delete_from(stream)
  local deleted, page = {}, nil
  local after, events, last = 0, at('events', stream.name), entry_id(stream.delivered)
  repeat
    page = redis.call('XRANGE', events, entry_id(after + 1), last, 'COUNT', 100)
    for _, entry in ipairs(page) do
      local event = event_of(entry)
      after = position_of(event.id)
      if after > stream.position - keep and event.at >= before then
        page = {}
        break
      end
      deleted[#deleted + 1] = event
    end
  until #page == 0
  delete_events(stream.name, deleted)
  return #deleted
end

local deleted = 0
while is_more() do
  local stream = stream_of(take())
  if stream and not is_batch(stream) then
    deleted = deleted + delete_from(stream)
  end
end
return deleted
