"""A date corrected by the keys of its new rows, and the proof that its rows may be corrected so."""
