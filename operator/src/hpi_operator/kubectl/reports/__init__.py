"""What was read, summed up: objects of the API server in, one checked report out; pure."""
