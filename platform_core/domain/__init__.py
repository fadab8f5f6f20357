"""What a domain is: its entry in domains.yaml, its contract, its rules, its plugins.

Add here what follows from a domain's entry or contract alone. What is stored about its dates belongs to
`platform_core.partitions`.
"""
