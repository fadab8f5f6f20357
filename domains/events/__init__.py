"""The domain `events`: its contract and its two plugins. Importing it costs nothing."""
