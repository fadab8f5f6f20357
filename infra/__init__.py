"""How the platform is run: embedded on a laptop, or in containers on one host; what watches it and what it is made of.

Nothing below imports it.
"""
