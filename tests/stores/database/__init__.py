"""What the database store promises besides the contract, on every database."""
