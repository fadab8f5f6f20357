"""One person's data removed from every layer, and the proof of it.

Finding, removing and counting what a layer has of a person belongs here, a module a layer; `run` has their order. What
a command prints is `pdp.commands.erase`; which column of a domain names a person is `subjects` in domains.yaml.
"""
