"""The cluster as this program speaks to it: requests, server-side apply, list-and-watch, the election, rights."""
