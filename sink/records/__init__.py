"""A record from its bytes to a column of a buffer: decoding, rows, and when a buffer is full.

Add here what is decided about one record. What a refused one meets is in `sink.refusals`, the file that a buffer
becomes in `sink.bronze`.
"""
