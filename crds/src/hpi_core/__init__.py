"""The contract that the operator and the agent share; it imports neither of them and does no I/O."""
