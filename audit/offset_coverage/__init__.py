"""The watch over offsets: whether each offset of a topic is in Bronze, refused, or a gap.

Add here what the watch remembers or reads. Reconciling two layers on demand belongs to `audit.stages`.
"""
