-- Events of a stream behind a position: {its end or '', the events, whether there would have been too much,
-- how far it was shortened, its last position}, nothing if it is not there.
--
-- With a worker: what it takes to send it. 'estranged' if it does not read the stream.
-- uses: arguments streams events inboxes

local PAGE = 20

local name, worker = take(), take()
local stream = stream_of(name) or worker == '' and unopened_inbox(name)
local first, limit, size = take_number(), take_number(), take_number()
if not stream then
  return false
elseif worker ~= '' and stream.reader ~= worker then
  return 'estranged'
end
local found, total, is_cut, is_over = {}, 0, 0, false
while not is_over and #found < limit do
  local count = math.min(PAGE, limit - #found)
  local page = redis.call('XRANGE', at('events', name), entry_id(first), '+', 'COUNT', count)
  is_over = #page < count
  for _, entry in ipairs(page) do
    local event = event_of(entry)
    total = total + #event.data
    if #found > 0 and total > size then
      is_cut, is_over = 1, true
      break
    end
    found[#found + 1] = {exact(position_of(event.id)), event.name, event.data}
    first = position_of(event.id) + 1
  end
end
if worker ~= '' and first - 1 > stream.delivered then
  save(stream, 'delivered', first - 1)
end
-- As one string, like a session.
local position = exact(stream.position)
return {stream.ended_at ~= '' and position or '', cjson.encode(found), is_cut, exact(stream.trimmed), position}
