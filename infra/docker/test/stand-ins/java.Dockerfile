# Stands in for the public image `eclipse-temurin`: Debian's OpenJDK as a runtime of all modules, in the same folder.
ARG DEBIAN_IMAGE
FROM ${DEBIAN_IMAGE}
COPY ca/ /usr/local/share/ca-certificates/
RUN mkdir -p /usr/share/man/man1 && apt-get update && apt-get install -y --no-install-recommends ca-certificates \
    && update-ca-certificates && apt-get install -y --no-install-recommends openjdk-17-jdk-headless \
    && jlink --add-modules ALL-MODULE-PATH --strip-java-debug-attributes --no-man-pages --no-header-files \
      --output /opt/java/openjdk \
    && cp -L /etc/ssl/certs/java/cacerts /opt/java/openjdk/lib/security/cacerts \
    && apt-get purge -y --auto-remove openjdk-17-jdk-headless && rm -rf /var/lib/apt/lists/*
ENV JAVA_HOME=/opt/java/openjdk PATH=/opt/java/openjdk/bin:$PATH
RUN java -version
