# Stands in for the public image `grafana/grafana`, which nothing here can be made of: what of it the tests ask for.
ARG DEBIAN_IMAGE
FROM ${DEBIAN_IMAGE}
RUN apt-get update && apt-get install -y --no-install-recommends python3 python3-yaml wget && rm -rf /var/lib/apt/lists/* \
    && install -d -o 472 -g 0 /var/lib/grafana
COPY grafana.py /
USER 472:0
CMD ["python3", "/grafana.py"]
