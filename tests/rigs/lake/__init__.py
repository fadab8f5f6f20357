"""A lake as tests need it: its files and tables, what may be wrong with them, and the state of its partitions."""
