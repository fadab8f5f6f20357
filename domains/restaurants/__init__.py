"""The domain `restaurants`: its contract and its two plugins. Importing it costs nothing."""
