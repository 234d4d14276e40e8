-- Remember how far streams were sent by the worker that reads them, and that it leaves them; the
-- streams on which comes now what waited there.
-- uses: arguments streams moving ringing

local worker, is_leaving = take(), take_flag()
local names = {}
while is_more() do
  local name, position = take(), take_number()
  local stream = stream_of(name)
  if stream and stream.reader == worker then
    -- Who leaves gives back what it took and has not sent.
    save(stream, 'delivered', math.max(is_leaving and stream.trimmed or stream.delivered, position))
    if is_leaving then
      pass_over_moved(stream)
      leave(stream)
    end
  end
  names[#names + 1] = name
end
local moved = is_leaving and hand_over(names) or {}
announce()
return moved
