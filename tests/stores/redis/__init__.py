"""What the Redis store promises besides the contract."""
