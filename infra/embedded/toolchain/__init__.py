"""What the services are made of: JDK, jars and Postgres, found or installed."""
