"""Refused records: what keeps them, how many there may be, and what prevents that all of them are.

Why a record is refused is decided in `sink.records.decoding`; the loop's order is not decided here.
"""
