# The only entry points; CI calls them too. `make help` lists them.

CARGO ?= cargo
TOOLS := $(CURDIR)/.tools
CARGO_DENY := 0.20.2
# Preemptions that loom explores: 2 in `make test`; `make verify` sets no bound that these scenarios reach.
LOOM_BOUND ?= 2
SECONDS ?= 20
LOOM := RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom LOOM_MAX_PREEMPTIONS=$(LOOM_BOUND)

.DEFAULT_GOAL := help
.PHONY: help run test test-rust loom verify verify-ci bench bench-peers lint fmt doc deny deny-advisories clean

help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

run: ## A live fleet in the terminal: this machine beside generated hives (SECONDS=20)
	@$(CARGO) run --quiet --release --example fleet -- --seconds $(SECONDS) $(ARGS)

test: test-rust loom ## Every test at its everyday size

test-rust:
	$(CARGO) test --workspace --all-targets
	$(CARGO) test --workspace --doc

loom: ## Interleavings explored on the code that ships (LOOM_BOUND=2)
	$(LOOM) $(CARGO) test --profile loom --test loom

verify: ## The deep sizes: more interleavings, more cases, longer threads, optimised
	$(MAKE) loom LOOM_BOUND=100
	PROPTEST_CASES=10000 $(CARGO) test --release --test properties
	HIVE_THREADS_SECONDS=60 $(CARGO) test --release --test threads -- --nocapture
	HIVE_SILENT_WORKERS=800000 $(CARGO) test --release --test mass_silence -- --nocapture

verify-ci: ## The bounded part of `verify` that CI runs
	$(MAKE) loom LOOM_BOUND=4
	PROPTEST_CASES=2000 $(CARGO) test --release --test properties
	HIVE_THREADS_SECONDS=10 $(CARGO) test --release --test threads -- --nocapture
	HIVE_SILENT_WORKERS=800000 $(CARGO) test --release --test mass_silence -- --nocapture

bench: ## Criterion benches; the report is in target/criterion
	$(CARGO) bench --workspace

bench-peers: ## The same picks by the alternatives; a crate of its own, which builds for a while
	$(CARGO) run --release --locked --manifest-path benches/peers/Cargo.toml

lint: ## Formatting, clippy, documentation: without a warning
	$(CARGO) fmt --check
	$(CARGO) clippy --workspace --all-targets --all-features -- -D warnings
	RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom $(CARGO) clippy --profile loom --lib --test loom -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps

fmt: ## Format
	$(CARGO) fmt

doc: ## The documentation, opened in a browser
	$(CARGO) doc --workspace --no-deps --open

$(TOOLS)/bin/cargo-deny:
	$(CARGO) install --quiet --locked --root $(TOOLS) cargo-deny --version $(CARGO_DENY) --no-default-features

deny: $(TOOLS)/bin/cargo-deny ## Licences, duplicates and sources of the dependencies
	$(TOOLS)/bin/cargo-deny check licenses bans sources

deny-advisories: $(TOOLS)/bin/cargo-deny ## Known vulnerabilities; needs the network
	$(TOOLS)/bin/cargo-deny check advisories

clean: ## Remove what was built and installed here
	$(CARGO) clean
	rm -rf $(TOOLS) .venv
