# syntax=docker/dockerfile:1

# Debian's release must be the same in both stages: the binary uses the C library of the first.
ARG DEBIAN=bookworm

FROM rust:1.95-slim-${DEBIAN} AS build
WORKDIR /src
# The dependencies by themselves: this layer is built again only when Cargo.toml or Cargo.lock
# changes. Empty sources stand in for ours.
COPY Cargo.toml Cargo.lock ./
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    mkdir src && echo 'fn main() {}' > src/main.rs && touch src/lib.rs \
    && cargo build --release --locked \
    && rm -r src
COPY config/offhook.toml config/offhook.toml
COPY migrations migrations
COPY src src
# Newer than the stand-ins, or cargo would take those for built.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    find src -name '*.rs' -exec touch {} + \
    && cargo build --release --locked

FROM debian:${DEBIAN}-slim
# The certificates are for `rediss://`, and for Postgres with TLS.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /var/lib/offhook --shell /usr/sbin/nologin offhook \
    && install --directory --owner=offhook --group=offhook --mode=0750 /var/lib/offhook
COPY --from=build /src/target/release/offhook /usr/local/bin/offhook
COPY LICENSE-APACHE LICENSE-MIT /usr/share/doc/offhook/
USER offhook
# Here lies what offhook writes by default: the embedded store, or a receiver's spool.
WORKDIR /var/lib/offhook
VOLUME ["/var/lib/offhook"]
# The public listener, and the private one, which is on loopback until it is given a token.
EXPOSE 8080 8081
# Reads the same configuration as the server: give that by environment (OFFHOOK_CONFIG for a file),
# not by an option, so that both see it.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["offhook", "healthcheck"]
ENTRYPOINT ["offhook"]
CMD ["serve"]
