"""`kubectl hpi`: what a person asks of a cluster, read with that person's own rights; it writes nothing."""
