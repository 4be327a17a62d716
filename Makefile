# The only entry points; CI calls them too. `make help` lists them.

CARGO ?= cargo
TOOLS := $(CURDIR)/.tools
CARGO_DENY := 0.20.2
# As in benches/count/Cargo.toml.
GUNGRAUN := 0.18.1
# Preemptions that loom explores: 2 in `make test`; `make verify` sets no bound that these scenarios reach.
LOOM_BOUND ?= 2
SECONDS ?= 20
LOOM := RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom LOOM_MAX_PREEMPTIONS=$(LOOM_BOUND)
COUNT := GUNGRAUN_RUNNER=$(TOOLS)/bin/gungraun-runner $(CARGO) run --profile bench --locked \
	--manifest-path benches/count/Cargo.toml
# What `make bench` measured, for the report to read.
FIGURES := $(abspath $(or $(CARGO_TARGET_DIR),target))/bench
PEERS := --manifest-path benches/peers/Cargo.toml
REPORT := --manifest-path benches/report/Cargo.toml

.DEFAULT_GOAL := help
.PHONY: help run test test-rust loom loom-mutants verify verify-ci bench bench-build bench-criterion bench-peers bench-report \
	bench-count bench-count-record valgrind lint lint-benches fmt doc deny deny-advisories clean

help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 20

run: ## A live fleet in the terminal: this machine beside generated hives (SECONDS=20)
	@$(CARGO) run --quiet --release --example fleet -- --seconds $(SECONDS) $(ARGS)

test: test-rust loom ## Every test at its everyday size

test-rust:
	$(CARGO) test --workspace --all-targets
	$(CARGO) test --workspace --doc

loom: ## Interleavings explored on the code that ships (LOOM_BOUND=2)
	$(LOOM) $(CARGO) test --profile loom --test loom

loom-mutants: ## Planted bugs, on a copy: loom must catch each (tests/mutants)
	tests/mutants/run

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

bench: ## All that is timed, ours and the peers', and the report of it: docs/bench.md, docs/pick.svg
	@MAKE="$(MAKE)" benches/run

bench-build:
	$(CARGO) bench --workspace --no-run
	$(CARGO) build --release --locked $(PEERS)
	$(CARGO) build --release --locked $(REPORT)

# What an earlier run left goes first: a report is of one run. Three rounds, for a neighbour on a shared machine makes
# everything slower for minutes.
bench-criterion:
	rm -rf $(FIGURES)
	for round in 1 2 3; do \
		CRITERION_HOME=$(FIGURES)/criterion-$$round HIVE_BENCH_FIGURES=$(FIGURES) $(CARGO) bench --workspace || exit 1; \
	done

bench-peers: ## The same picks by the alternatives; a crate of its own, which builds for a while
	@mkdir -p $(FIGURES)
	$(CARGO) run --release --locked $(PEERS) -- --json $(FIGURES)/peers.jsonl

bench-report: ## The report again, from the figures of the last `make bench`
	$(CARGO) run --quiet --release --locked $(REPORT) -- $(FIGURES) docs

bench-count: valgrind $(TOOLS)/bin/gungraun-runner ## Instructions of the busiest calls; fails past +5 % of benches/counts.json
	$(COUNT)

bench-count-record: valgrind $(TOOLS)/bin/gungraun-runner ## The same, written to benches/counts.json
	$(COUNT) -- --record

valgrind:
	@command -v valgrind >/dev/null || { echo "counting needs valgrind: apt-get install valgrind" >&2; exit 1; }

$(TOOLS)/bin/gungraun-runner:
	$(CARGO) install --quiet --locked --root $(TOOLS) gungraun-runner --version $(GUNGRAUN)

lint: ## Formatting, clippy, documentation: without a warning
	$(CARGO) fmt --check
	$(CARGO) clippy --workspace --all-targets --all-features -- -D warnings
	RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom $(CARGO) clippy --profile loom --lib --test loom -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps

lint-benches: ## The same for the crates beside the workspace; clippy not for the peers, which build for long
	for crate in count peers report; do $(CARGO) fmt --check --manifest-path benches/$$crate/Cargo.toml || exit 1; done
	$(CARGO) clippy --locked --all-targets --manifest-path benches/count/Cargo.toml -- -D warnings
	$(CARGO) clippy --locked --all-targets $(REPORT) -- -D warnings

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
	rm -rf $(TOOLS) .venv benches/*/target
