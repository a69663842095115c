"""Inputs on which engines are judged and timed: the user's own, rendered ones, or seeded noise."""
