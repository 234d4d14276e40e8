// Handle session not found
eventSource.addEventListener('error', function(event) {
  if (event.data && event.data.includes('session_not_found')) {
    // Create new session
    reconnectWithNewSession();
  }
});
