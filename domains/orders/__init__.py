"""The domain `orders`: its contract and its two plugins. Importing it costs nothing."""
