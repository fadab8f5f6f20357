"""The platform's services on one machine without containers: Kafka, Postgres and Spark as child processes.

Add a service as one module with one `EmbeddedService`; code of the platform itself never imports this
package and only sees environment variables.
"""
