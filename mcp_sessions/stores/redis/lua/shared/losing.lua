-- Workers that are lost, and until when they may have sent something.
-- uses: keys

-- It died before its next beat was due.
local function lose(worker, beats)
  local beat_at = tonumber(redis.call('ZSCORE', at('workers'), worker))
  redis.call('ZREM', at('workers'), worker)
  redis.call('ZADD', at('lost'), exact(beat_at + (clock() - beat_at) / beats), worker)
end

-- nil if the worker is not known: another heir was quicker.
local function last_sent_at(worker)
  local instant = redis.call('ZSCORE', at('lost'), worker) or redis.call('ZSCORE', at('workers'), worker)
  return tonumber(instant or '')
end
