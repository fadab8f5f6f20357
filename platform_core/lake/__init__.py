"""The lake's layout, how a store is reached, and the tables of the platform itself that several processes write.

Add here where a file or table stands, and a platform table that several processes write. The state of a date belongs
to `platform_core.partitions`.
"""
