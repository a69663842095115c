"""Where model files come from: one protocol, one way into the store, one module for each kind of address."""
