"""One small date, from its claim to DONE, beside few and beside many dates that the tables already have."""
