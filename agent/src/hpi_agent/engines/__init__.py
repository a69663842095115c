"""Inference engines behind one contract; one file per runtime, each the sole importer of its library."""
