"""What a pod and the agent of its node say to one another over HTTP: the values, both ends, and whose is what."""
