"""A Bronze file from its sealed buffer to the store: columns, container, journal, upload, recovery.

Add here what happens to a file. Which records are in it is decided in the room above.
"""
