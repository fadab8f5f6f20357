"""The asset graph: keys, partitions, the multi-asset of a domain and what it reports.

What a date goes through belongs to `processing`.
"""
