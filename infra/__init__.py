"""How the platform is run: embedded on a laptop. Nothing below imports it."""
