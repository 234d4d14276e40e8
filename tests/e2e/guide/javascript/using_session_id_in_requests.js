// Include session ID in subsequent JSON-RPC requests
async function makeRequest(method, params = {}) {
  const response = await fetch('http://localhost:3001/mcp', {
    method: 'POST',
    headers: {
      'Content-Type': 'application/json',
      'Accept': 'application/json',
      'MCP-Protocol-Version': '2025-06-18',
      'X-Session-ID': sessionId  // Include session ID
    },
    body: JSON.stringify({
      jsonrpc: '2.0',
      method: method,
      params: params,
      id: Date.now()
    })
  });
  
  return response.json();
}

// Example usage
const tools = await makeRequest('tools/list');
console.log('Available tools:', tools);
