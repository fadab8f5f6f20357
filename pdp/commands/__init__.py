"""The commands of `pdp`, a module for each word after it: arguments, a call, a table or JSON.

What a command does to the platform belongs to `pdp.actions`.
"""
