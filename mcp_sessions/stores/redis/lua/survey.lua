-- How streams stand.
-- uses: arguments streams inboxes

local found = {}
while is_more() do
  local name = take()
  local stream = stream_of(name) or unopened_inbox(name)
  if stream then
    found[#found + 1] = stream_record(stream)
  end
end
return found
