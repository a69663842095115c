"""The loop: what needs a pass, who makes it, and whether the loop is alive."""
