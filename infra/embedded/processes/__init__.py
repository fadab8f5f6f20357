"""Child processes that never outlive their owner: ports, start, health, end.

Which program is started belongs to `infra.embedded.services`.
"""
