-- The time, in microseconds since the epoch.
-- uses: keys

return exact(clock())
