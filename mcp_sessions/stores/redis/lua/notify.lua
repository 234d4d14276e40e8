-- Tell every process of names.
-- uses: arguments ringing

while is_more() do
  ring(take())
end
announce()
