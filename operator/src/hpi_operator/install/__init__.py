"""The objects that an installation needs, as values: accounts, roles, admission policies, the operator itself."""
