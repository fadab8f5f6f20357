"""A date's state: what is known of it, what may happen next, and which dates have work.

Add here what decides about dates. Doing the work belongs to `processing`.
"""
