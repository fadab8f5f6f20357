"""The case `years`: what the platform costs after three years of default use, and what it cost after the first week."""
