"""What to choose and why, as pure rules: knowledge, candidates, the gate, the measured choice, keys and decisions."""
