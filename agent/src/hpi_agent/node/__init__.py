"""The agent of one node: its HPINode, its pods' reports, Leases of resolutions, the node's cache."""
