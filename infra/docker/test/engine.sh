#!/usr/bin/env bash
# What `make compose-test` needs on a Debian machine that has no Docker: an engine, Compose, and stand-ins of base images.
#
#   engine.sh start       install Docker's engine (Debian's packages, as root) unless one answers; start it
#   engine.sh compose     build Compose v2 from its Go module as a plugin, unless `docker compose` works
#   engine.sh stand-ins   make the public base images that cannot be pulled here, and say which
#   engine.sh stop        end the engine that `start` started, and take its firewall rules away
#   engine.sh env         print the two variables that a shell needs to use this engine
#
# A developer's machine has Docker and reaches the public images: there all of this finds nothing to do. A stand-in has
# the public image's name and is made of Debian's packages and of this machine's own programs; nothing of production
# depends on one.
set -euo pipefail

HERE=$(cd "$(dirname "$0")" && pwd)
ROOT=$(cd "$HERE/../../.." && pwd)
ENGINE=${COMPOSE_TEST_ENGINE:-$ROOT/.platform/engine}
COMPOSE_VERSION=v2.40.3
# Docker's own networks must not meet those of docker-compose.yml, 172.20.0.0/21.
BRIDGE=172.28.0.1/24
POOL=172.29.0.0/16

say() { echo "  $*" >&2; }

own() { [ -S "$ENGINE/docker.sock" ]; }

environment() {
  if [ -z "${DOCKER_HOST:-}" ] && own; then
    echo "export DOCKER_HOST=unix://$ENGINE/docker.sock DOCKER_CONFIG=$ENGINE/config"
  fi
}

start() {
  eval "$(environment)"
  docker info >/dev/null 2>&1 && return
  if ! command -v dockerd >/dev/null; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
      echo "No Docker engine answers. Install one (https://docs.docker.com/engine/install), or run this as root on Debian." >&2
      exit 1
    fi
    say "installing Docker's engine"
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends docker.io iptables >/dev/null
    docker info >/dev/null 2>&1 && return
  fi
  mkdir -p "$ENGINE/config"
  export DOCKER_HOST=unix://$ENGINE/docker.sock DOCKER_CONFIG=$ENGINE/config
  setsid nohup dockerd --data-root "$ENGINE/data" --exec-root "$ENGINE/exec" -H "$DOCKER_HOST" -p "$ENGINE/docker.pid" \
    --bip "$BRIDGE" --default-address-pool base="$POOL",size=24 >"$ENGINE/dockerd.log" 2>&1 </dev/null &
  for _ in $(seq 60); do docker info >/dev/null 2>&1 && return; sleep 1; done
  echo "dockerd did not start; $ENGINE/dockerd.log ends with:" >&2
  tail -5 "$ENGINE/dockerd.log" >&2
  exit 1
}

compose() {
  eval "$(environment)"
  docker compose version >/dev/null 2>&1 && return
  if ! command -v go >/dev/null; then
    echo "Compose is missing. Install the plugin docker-compose-plugin, or Go to build it here." >&2
    exit 1
  fi
  say "building Compose $COMPOSE_VERSION (4 minutes of CPU, once)"
  local plugins=${DOCKER_CONFIG:-$HOME/.docker}/cli-plugins work
  work=$(mktemp -d)
  mkdir -p "$plugins"
  # Its go.mod excludes versions, which `go install` refuses: a module of our own requires it instead.
  (cd "$work" && go mod init compose && go get "github.com/docker/compose/v2/cmd@$COMPOSE_VERSION" &&
    go build -trimpath -ldflags "-s -w -X github.com/docker/compose/v2/internal.Version=$COMPOSE_VERSION" \
      -o "$plugins/docker-compose" github.com/docker/compose/v2/cmd) >"$work/log" 2>&1 || { tail -5 "$work/log" >&2; exit 1; }
  rm -rf "$work"
  docker compose version >&2
}

# The machine's own authorities, for a network that signs TLS anew; in stand-ins only, never in an image of ours.
authorities() {
  mkdir -p "$1/ca"
  cp /usr/local/share/ca-certificates/*.crt "$1/ca/" 2>/dev/null || touch "$1/ca/none"
}

missing() { ! docker image inspect "$1" >/dev/null 2>&1 && ! docker pull -q "$1" >/dev/null 2>&1; }

# The pinned images of infra/docker/images.env, which Compose and the Dockerfile take their versions from.
stand_ins() {
  eval "$(environment)"
  set -a; . "$HERE/../images.env"; set +a
  scratch=$(mktemp -d); trap 'rm -rf "$scratch"' EXIT
  authorities "$scratch"
  if missing "$DEBIAN_IMAGE"; then
    say "stand-in $DEBIAN_IMAGE: debootstrap"
    command -v debootstrap >/dev/null || apt-get install -y -qq --no-install-recommends debootstrap >/dev/null
    debootstrap --variant=minbase --include=ca-certificates bookworm "$scratch/rootfs" >"$scratch/debootstrap.log"
    tar -C "$scratch/rootfs" -c . | docker import -c 'CMD ["bash"]' - "$DEBIAN_IMAGE" >/dev/null
    rm -rf "$scratch/rootfs"
  fi
  if missing "$PYTHON_IMAGE"; then
    say "stand-in $PYTHON_IMAGE: this machine's Python on Debian"
    local prefix; prefix=$(python3.11 -c 'import sys; print(sys.base_prefix)')
    tar -C "$prefix" --exclude='*/test' --exclude='*/site-packages/*' --exclude='*.a' -cf "$scratch/python.tar" bin include lib share
    build python "$PYTHON_IMAGE" "$scratch"
  fi
  if missing "$JAVA_IMAGE"; then
    say "stand-in $JAVA_IMAGE: Debian's OpenJDK 17"
    build java "$JAVA_IMAGE" "$scratch"
  fi
  if missing "$POSTGRES_IMAGE"; then
    say "stand-in $POSTGRES_IMAGE: Debian's PostgreSQL 15"
    cp "$HERE/stand-ins/postgres-entrypoint.sh" "$scratch/"
    build postgres "$POSTGRES_IMAGE" "$scratch"
  fi
  if missing "$NGINX_IMAGE"; then
    say "stand-in $NGINX_IMAGE: Debian's nginx"
    build nginx "$NGINX_IMAGE" "$scratch"
  fi
  if missing "$PROMETHEUS_IMAGE"; then
    say "stand-in $PROMETHEUS_IMAGE: Debian's Prometheus 2.42"
    build prometheus "$PROMETHEUS_IMAGE" "$scratch"
  fi
  if missing "$ALERTMANAGER_IMAGE"; then
    say "stand-in $ALERTMANAGER_IMAGE: Debian's Alertmanager 0.25"
    build alertmanager "$ALERTMANAGER_IMAGE" "$scratch"
  fi
  if missing "$GRAFANA_IMAGE"; then
    say "stand-in $GRAFANA_IMAGE: a program of ours that has a login, reads the provisioning and asks Prometheus"
    cp "$HERE/stand-ins/grafana.py" "$scratch/"
    build grafana "$GRAFANA_IMAGE" "$scratch"
  fi
  if missing "$GO_IMAGE"; then
    say "stand-in $GO_IMAGE: this machine's Go on Debian"
    tar -C "$(go env GOROOT)/.." --anchored --exclude=go/test --exclude=go/doc --exclude=go/api -cf "$scratch/go.tar" go
    build golang "$GO_IMAGE" "$scratch"
  fi
}

build() {
  cp "$HERE/stand-ins/$1.Dockerfile" "$3/Dockerfile"
  docker build -q --build-arg DEBIAN_IMAGE="$DEBIAN_IMAGE" -t "$2" "$3" >/dev/null 2>"$3/build.log" || { tail -20 "$3/build.log" >&2; exit 1; }
}

stop() {
  own || return 0
  kill "$(cat "$ENGINE/docker.pid")" && sleep 3
  iptables -P FORWARD ACCEPT; iptables -F; iptables -X; iptables -t nat -F; iptables -t nat -X
  ip link del docker0 2>/dev/null || true
  sysctl -qw net.ipv4.ip_forward=0
}

case ${1:-} in
  start | compose | stop) "$1" ;;
  stand-ins) stand_ins ;;
  env) environment ;;
  *) sed -n '2,10p' "$0"; exit 2 ;;
esac
