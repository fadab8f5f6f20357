"""The lake's layout, and the Delta tables that the platform keeps for itself: alerts and corrections.

Add here where a file or table stands, and a platform table that several processes write. The state of a date belongs
to `platform_core.partitions`.
"""
