-- Merge names into a session's metadata.
-- uses: arguments sessions

local session = unended(take())
if not session then
  return 0
end
save_rest(at('session', session.key))
return 1
