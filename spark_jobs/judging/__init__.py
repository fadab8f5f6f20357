"""Which rows and groups a rule or an aggregation cannot take, and which rows must be compared with others."""
