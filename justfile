# Short names for what is done often. `.ci/run` is what a change must pass.

_default:
    @just --list

# Format and lints, with and without what the tests add
check:
    cargo fmt --check
    cargo clippy --all-targets --locked -- -D warnings
    cargo clippy --all-targets --all-features --locked -- -D warnings

# Format the sources
fmt:
    cargo fmt

# The tests that need no service (they mostly wait: hence the threads)
test filter='':
    cargo test --locked --all-features --lib {{ filter }} -- --test-threads=32
    cargo test --locked --all-features --test it -- floors:: house::

# Install the programs that the other tests start (Debian 12; elsewhere what apt has)
setup:
    tests/setup

# Every test, or those whose name contains the filter
test-all *filter:
    tests/run {{ filter }}

# The pictures of the documentation, made anew
screenshots:
    cargo build
    tests/screenshots target/debug/offhook

# Everything that a change must pass
ci:
    .ci/run

# An hour of callbacks in seconds, and a console to look at what came of them
demo *arguments:
    cargo run -- demo {{ arguments }}

# The documentation, of private items as well
doc:
    RUSTDOCFLAGS='-D warnings' cargo doc --locked --all-features --no-deps --document-private-items --lib --examples --open

# Faults under load, on private servers (`just torture --list`)
torture *arguments:
    cargo run --release --features crash-points -- torture {{ arguments }}

# What a callback costs, piece by piece
bench:
    cargo bench --bench micro
