"""Bronze to Silver to Gold by Spark SQL, on Spark and on Sail. Orchestration is above, the domains' plugins below."""
