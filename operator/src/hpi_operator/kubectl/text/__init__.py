"""Reports for people: a report in, lines out; pure."""
