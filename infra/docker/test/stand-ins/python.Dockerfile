# Stands in for the public image `python`: this machine's Python, in the same folders.
ARG DEBIAN_IMAGE
FROM ${DEBIAN_IMAGE}
RUN apt-get update && apt-get install -y --no-install-recommends libssl3 libffi8 libsqlite3-0 libreadline8 libbz2-1.0 \
      liblzma5 libuuid1 libncursesw6 libtirpc3 libnsl2 zlib1g ca-certificates netbase tzdata \
    && rm -rf /var/lib/apt/lists/*
COPY ca/ /usr/local/share/ca-certificates/
RUN update-ca-certificates
ADD python.tar /usr/local/
ENV PATH=/usr/local/bin:$PATH LANG=C.UTF-8 SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
    PIP_CERT=/etc/ssl/certs/ca-certificates.crt REQUESTS_CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt
RUN ldconfig && rm -f /usr/local/bin/python /usr/local/bin/python3 && ln -s python3.11 /usr/local/bin/python3 \
    && ln -s python3 /usr/local/bin/python && python -m ensurepip --upgrade && ln -sf pip3 /usr/local/bin/pip \
    && python -c 'import ssl,sqlite3,lzma,bz2,ctypes,readline,uuid,zlib'
CMD ["python3"]
