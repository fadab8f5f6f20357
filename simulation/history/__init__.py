"""A reproducible past: what each day looked like, computed from a seed, and how it is played into the sources.

Every day is a pure function of (seed, day), so it can be made again alone, in any order, with the same bytes. The
live behaviour of a source does not belong here; see docs/operations.md for when to replay.
"""
