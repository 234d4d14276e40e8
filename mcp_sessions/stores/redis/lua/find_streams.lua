-- Streams by their names, or those of sessions or of writers but for inboxes.
-- uses: arguments streams inboxes

local by, is_open_only = take(), take_flag()
local found = {}

local function keep_found(stream)
  if stream and (stream.ended_at == '' or not is_open_only) then
    found[#found + 1] = stream_record(stream)
  end
end

local function names_of(value)
  return redis.call('SMEMBERS', by == 'session' and at('streams', value) or at('writer', value))
end

while is_more() do
  local value = take()
  if by == 'name' then
    keep_found(stream_of(value) or unopened_inbox(value))
  else
    for _, name in ipairs(names_of(value)) do
      local stream = stream_of(name)
      keep_found(stream and stream.kind ~= 'inbox' and stream)
    end
  end
end
return found
