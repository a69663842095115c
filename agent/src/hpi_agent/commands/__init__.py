"""The commands of `hpi-agent`, one module each: `register` adds the parser, `run` does the work."""
