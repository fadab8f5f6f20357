"""The domain `users`: its contract and its two plugins. Importing it costs nothing."""
