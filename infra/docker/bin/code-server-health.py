"""Succeeds while the code server at HOST:PORT says by gRPC's health protocol that it serves."""

import sys

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

with grpc.insecure_channel(sys.argv[1], options=[("grpc.enable_http_proxy", 0)]) as channel:
    answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service="DagsterApi"), timeout=8)
sys.exit(0 if answer.status == health_pb2.HealthCheckResponse.SERVING else 1)
