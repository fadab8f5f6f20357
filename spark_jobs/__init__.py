"""Bronze to Silver to Gold by Spark SQL, on Spark and on Sail. Orchestration is above, the domains' plugins below.

The two jobs stand here. `reading` makes a DataFrame of Bronze, `judging` finds what a rule or an aggregation cannot
take, `writing` keeps the Delta tables, `correction` takes the short way for few new rows, `lineage` follows columns,
and `engine` is how a job reaches Spark or Sail.
"""
