"""The engine that a job talks to: its session, its channel, and what its exceptions mean."""
