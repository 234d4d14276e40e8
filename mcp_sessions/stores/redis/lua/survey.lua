-- How streams stand.
-- uses: arguments streams

local found = {}
while is_more() do
  local stream = stream_of(take())
  if stream then
    found[#found + 1] = stream_record(stream)
  end
end
return found
