"""A date larger than the memory of the workers that process it."""
