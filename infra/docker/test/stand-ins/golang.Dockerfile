# Stands in for the public image `golang`: this machine's Go, in the same folder.
ARG DEBIAN_IMAGE
FROM ${DEBIAN_IMAGE}
COPY ca/ /usr/local/share/ca-certificates/
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates git && update-ca-certificates \
    && rm -rf /var/lib/apt/lists/*
ADD go.tar /usr/local/
ENV PATH=/usr/local/go/bin:/go/bin:$PATH GOPATH=/go GOTOOLCHAIN=local
WORKDIR /go
