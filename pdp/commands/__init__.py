"""The commands of `pdp`, a module for one word after it or for several: arguments, a call, a table or JSON.

What a command does to the platform belongs to `pdp.actions`.
"""
