"""What end-to-end tests are made of: real server processes, raw HTTP and SSE, real clients."""
