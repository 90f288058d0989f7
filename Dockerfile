# By tag, so that it gets patches; pin it by digest (`@sha256:…`) where you build what you ship.
FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
# `otel`: traces.
ARG FEATURES=
# The dependencies by themselves: this layer is built again only when Cargo.toml or Cargo.lock
# changes. Empty sources stand in for ours.
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    mkdir src && echo 'fn main() {}' > src/main.rs && touch src/lib.rs \
    && cargo build --release --locked --features "$FEATURES" \
    && rm -r src
COPY config/offhook.toml config/offhook.toml
COPY docs docs
COPY migrations migrations
COPY src src
# Newer than the stand-ins, or cargo would take those for built.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    find src -name '*.rs' -exec touch {} + \
    && cargo build --release --locked --features "$FEATURES"

# All that the image holds: the program, the C library that it was built with, certificates (for
# `rediss://`, Postgres with TLS, and public URLs), a user, and a directory that is the user's. No
# shell and no package manager, so nothing of theirs to patch or to misuse.
COPY LICENSE-APACHE LICENSE-MIT /image/usr/share/doc/offhook/
RUN install -D target/release/offhook /image/usr/local/bin/offhook \
    && for library in $(ldd target/release/offhook | grep --only-matching '/[^ ]*'); do \
        install -D "$library" "/image$library"; done \
    && install -D --mode=0644 --target-directory=/image/etc/ssl/certs \
        /etc/ssl/certs/ca-certificates.crt \
    && echo 'offhook:x:10001:10001::/var/lib/offhook:/usr/sbin/nologin' > /image/etc/passwd \
    && echo 'offhook:x:10001:' > /image/etc/group \
    && echo 'hosts: files dns' > /image/etc/nsswitch.conf \
    && install --directory --mode=1777 /image/tmp \
    && install --directory --owner=10001 --group=10001 --mode=0750 /image/var/lib/offhook

FROM scratch
COPY --from=build /image /
ENV PATH=/usr/local/bin
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
