"""A date's Bronze files as one DataFrame."""
