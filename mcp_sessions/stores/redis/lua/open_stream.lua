-- Open a stream: its writer, its reader and when that was; 'taken', or nothing if the session has ended.
-- uses: arguments sessions streams

local session, name, kind, worker, request_ids = unended(take()), take(), take(), take(), take()
if not session then
  return false
end
if redis.call('EXISTS', at('stream', name)) == 1 then
  return 'taken'
end
local stream = open(session, name, kind, worker, request_ids)
return {stream.writer, stream.reader, stream.created_at}
