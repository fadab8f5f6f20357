# Stands in for the public image `prom/alertmanager`: Debian's Alertmanager, with the public image's user and folders.
ARG DEBIAN_IMAGE
FROM ${DEBIAN_IMAGE}
RUN apt-get update && apt-get install -y --no-install-recommends prometheus-alertmanager wget && rm -rf /var/lib/apt/lists/* \
    && ln -s /usr/bin/prometheus-alertmanager /bin/alertmanager && install -d -o 65534 -g 65534 /alertmanager
USER 65534:65534
ENTRYPOINT ["/bin/alertmanager"]
