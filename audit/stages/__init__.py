"""One module for each pair of neighbouring layers, from the source to the warehouse.

A module compares its two layers and says what explains each difference. The order of the stages belongs to
`audit.run`.
"""
