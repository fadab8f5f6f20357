# Stands in for the public image `nginx`: Debian's nginx, with the public image's user.
ARG DEBIAN_IMAGE
FROM ${DEBIAN_IMAGE}
RUN apt-get update && apt-get install -y --no-install-recommends nginx-light && rm -rf /var/lib/apt/lists/* \
    && groupadd -g 101 nginx && useradd -u 101 -g 101 -M -s /usr/sbin/nologin nginx
STOPSIGNAL SIGQUIT
CMD ["nginx", "-g", "daemon off;"]
