"""Dead letters: read, counted, sent back.

Writing one belongs to the sink and the producers.
"""
