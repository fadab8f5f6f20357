"""Whether each offset of a topic is in Bronze, refused, or a gap, asked every minute at the cost of what is new.

Add here what is compared and remembered from minute to minute. Reconciling two layers on demand belongs to
`audit.stages`.
"""
