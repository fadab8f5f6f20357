"""What people who write domains need and should not have to know: where Spark and Sail read or compute differently.

Add a function here when two domains need it, or when the two engines differ in what one of them needs. A function
takes and returns columns. What only one domain means belongs in its package; the base classes are
`platform_core.domain.plugin`'s, and nothing here knows a domain.
"""
