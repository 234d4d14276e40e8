eventSource.addEventListener('session', function(event) {
  // New session created
  const data = JSON.parse(event.data);
  console.log('Session ID:', data.session_id);
  console.log('Expires at:', data.expires_at);
});

eventSource.addEventListener('session-resumed', function(event) {
  // Existing session resumed
  const data = JSON.parse(event.data);
  console.log('Resumed session:', data.session_id);
});

eventSource.addEventListener('session-expired', function(event) {
  // Session expired, need to create new one
  console.log('Session expired');
  // Reconnect to establish new session
  reconnect();
});

eventSource.addEventListener('session-warning', function(event) {
  // Session expiring soon
  const data = JSON.parse(event.data);
  console.log('Session expires in:', data.expires_in_seconds);
  // Could refresh session or warn user
});
