"""The sink as tests run it: as a process, as a loop in this one, and what it is given."""
