-- Previous ids, which open their sessions until the grace of a rotation is over.
-- uses: keys sessions

local function forget_previous(key)
  local digest = pick(key, 'previous_digest')
  if digest then
    redis.call('DEL', at('id', digest))
    redis.call('HDEL', at('session', key), 'previous_digest', 'previous_until', 'sealed_id')
  end
  redis.call('ZREM', at('rotated'), key)
end
