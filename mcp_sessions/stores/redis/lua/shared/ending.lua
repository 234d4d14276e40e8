-- Ends of sessions, with their streams.
-- uses: keys indexes streams ringing

-- The reply of a call that runs is ended by the call, which is cancelled and says so in it.
local function end_streams(key, at_instant)
  for _, name in ipairs(redis.call('ZRANGE', at('open', key), 0, -1)) do
    local stream = stream_of(name)
    if stream and not (stream.kind == 'post' and stream.writer ~= '') then
      finish(stream, at_instant)
    end
  end
end

-- `now` is when its streams end, which is later if its time had run out before.
local function end_session(session, ended_at, reason, now)
  local place = place_of(session)
  redis.call('HSET', at('session', session.key), 'ended_at', exact(ended_at), 'end_reason', reason)
  unindex(place)
  index_ended(place, exact(ended_at))
  end_streams(session.key, now)
  ring(session.key)
end
