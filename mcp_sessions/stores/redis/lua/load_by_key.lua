-- The session with this public name.
-- uses: arguments sessions

return record_of(take())
