// 1. Connect to SSE endpoint to get session ID
const eventSource = new EventSource('http://localhost:3001/mcp', {
  headers: {
    'Accept': 'text/event-stream',
    'MCP-Protocol-Version': '2025-06-18'
  }
});

let sessionId = null;

eventSource.addEventListener('session', function(event) {
  const data = JSON.parse(event.data);
  sessionId = data.session_id;
  console.log('Session established:', sessionId);
});

eventSource.addEventListener('endpoint', function(event) {
  const endpoint = event.data;
  console.log('MCP endpoint:', endpoint);
});
