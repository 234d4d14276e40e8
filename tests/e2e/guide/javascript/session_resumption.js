// Resume existing session by providing stored session ID
const resumeSession = (storedSessionId) => {
  const eventSource = new EventSource(`http://localhost:3001/mcp?session_id=${storedSessionId}`, {
    headers: {
      'Accept': 'text/event-stream',
      'MCP-Protocol-Version': '2025-06-18'
    }
  });
  
  eventSource.addEventListener('session-resumed', function(event) {
    const data = JSON.parse(event.data);
    console.log('Session resumed:', data.session_id);
    sessionId = data.session_id;
  });
  
  eventSource.addEventListener('session-expired', function(event) {
    console.log('Session expired, creating new session');
    // Start new session
    establishNewSession();
  });
};
