"""Apache Kafka, an S3 server and PostgreSQL for development and tests: fetched, started,
disturbed and stopped without containers, all below one folder. Python 3.11, no packages."""
