"""What an operator's command does, without the command line: each call checks the wish and carries it out.

Arguments and tables belong to `pdp.commands`.
"""
