# The only entry points; CI calls them too. `make help` lists them.

CARGO ?= cargo
TOOLS := $(CURDIR)/.tools
PYTHON ?= python3
VENV := $(CURDIR)/.venv
# Of the Python package: as the tests of Rust, so that they share what is built.
PROFILE ?= dev
CARGO_DENY := 0.20.2
CARGO_FUZZ := 0.13.2
CBINDGEN := 0.29.4
CARGO_MUTANTS := 27.1.0
# As in benches/count/Cargo.toml.
GUNGRAUN := 0.18.1
# Preemptions that loom explores: 2 in `make test`; `make verify` sets no bound that these scenarios reach.
LOOM_BOUND ?= 2
SECONDS ?= 20
LOOM = RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom LOOM_MAX_PREEMPTIONS=$(LOOM_BOUND)
COUNT := GUNGRAUN_RUNNER=$(TOOLS)/bin/gungraun-runner $(CARGO) run --profile bench --locked \
	--manifest-path benches/count/Cargo.toml
# What `make bench` measured, for the report to read.
FIGURES := $(abspath $(or $(CARGO_TARGET_DIR),target))/bench
PEERS := --manifest-path benches/peers/Cargo.toml
REPORT := --manifest-path benches/report/Cargo.toml
FUZZ_TARGETS := ingest_json operations round_trip
# Sanitizers are not stable; RUSTC_BOOTSTRAP lets the stable compiler use them.
FUZZ := RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$(CURDIR)/target/fuzz $(TOOLS)/bin/cargo-fuzz run
# Bytes need to be told words; the other targets read their input as numbers.
FUZZ_DICT_ingest_json := -dict=$(CURDIR)/fuzz/json.dict
# With a target named, build scripts and macros go without the sanitizer.
HOST = $(shell rustc -vV | sed -n 's/^host: //p')
# Not those that measure memory, which the sanitizer changes, nor the examples as programs, nor loom, empty here.
ASAN_TESTS = $(filter-out allocation churn hostile soak examples loom loom_matrix, $(basename $(notdir $(wildcard tests/*.rs))))

.DEFAULT_GOAL := help
.PHONY: help run test test-rust test-c test-python test-pip python stubs lint-python bench-python header install-c uninstall-c loom loom-matrix loom-mutants mutants verify verify-ci bench bench-build bench-catalog bench-criterion bench-peers bench-report \
	bench-count bench-count-record soak valgrind lint lint-benches fmt doc deny deny-advisories \
	fuzz fuzz-replay lint-fuzz asan tsan clean

help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 20

run: ## A live fleet in the terminal: this machine beside generated hives (SECONDS=20)
	@$(CARGO) run --quiet --release --example fleet -- --seconds $(SECONDS) $(ARGS)

test: test-rust test-c test-python loom loom-matrix ## Every test at its everyday size

test-rust:
# Not --all-targets, which would make a test of the Python module, for which an interpreter would have to be linked.
	$(CARGO) test --workspace --tests --examples --benches
	$(CARGO) test --workspace --doc

test-c: ## The C and C++ interfaces: every area, sanitizers, valgrind, an installed prefix, the examples
	tests/c/run

$(VENV)/.installed: tests/python/requirements.txt tests/python/constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r $< -c tests/python/constraints.txt
	touch $@

python: $(VENV)/.installed ## The Python package, built from here and installed into .venv (PROFILE=dev)
	VIRTUAL_ENV=$(VENV) $(VENV)/bin/maturin develop --quiet --locked --profile $(PROFILE)

test-python: python ## The Python package: every topic, its stubs, the examples, a wheel on every CPython found
	$(VENV)/bin/python -m pytest
	$(VENV)/bin/python -m mypy.stubtest --allowlist tests/python/stubtest.txt hive_registry
	PROFILE=$(PROFILE) tests/python/smoke

test-pip: ## `pip install .` into an empty environment, as users do it, then the quick start
	$(PYTHON) -m venv --clear target/pip
	target/pip/bin/python -m pip install --quiet --disable-pip-version-check .
	cd target && pip/bin/python -W error ../examples/python/quickstart.py

lint-python: python ## Ruff, mypy and pyright, strict, and whether every name has a type
	$(VENV)/bin/ruff check python tests/python examples/python benches/python bindings/python/stub_docs.py
	$(VENV)/bin/ruff format --check python tests/python examples/python benches/python bindings/python/stub_docs.py
	$(VENV)/bin/mypy
	$(VENV)/bin/pyright --pythonpath $(VENV)/bin/python
	PYTHONPATH=python $(VENV)/bin/pyright --pythonpath $(VENV)/bin/python --verifytypes hive_registry --ignoreexternal
	$(VENV)/bin/python bindings/python/stub_docs.py --check

stubs: python ## The docstrings of the Python package's stub anew, from bindings/python
	$(VENV)/bin/python bindings/python/stub_docs.py

bench-python: ## The same calls from Python, beside a registry of plain dicts; JSON in Rust, too
	$(MAKE) python PROFILE=release
	$(CARGO) bench --bench heartbeat -- heartbeat/json/plain/ingest
	$(VENV)/bin/python -m pytest -o addopts= -q benches/python

loom: ## Interleavings explored on the code that ships (LOOM_BOUND=2)
	$(LOOM) $(CARGO) test --profile loom --test loom

MATRIX_SEED ?= 1
TRIPLES ?= 0
loom-matrix: LOOM_BOUND = 3
loom-matrix: ## Every two calls beside each other, by loom, for so long; all of them where SECONDS is empty (SECONDS=20 MATRIX_SEED=1 TRIPLES=0)
	LOOM_MATRIX_SECONDS=$(SECONDS) LOOM_MATRIX_SEED=$(MATRIX_SEED) LOOM_MATRIX_TRIPLES=$(TRIPLES) \
		$(LOOM) $(CARGO) test --profile loom --test loom_matrix -- --nocapture

loom-mutants: ## Planted bugs, on a copy: loom must catch each (tests/mutants)
	tests/mutants/run

verify: ## The deep sizes: more interleavings, more cases, longer threads, optimised
	$(MAKE) loom LOOM_BOUND=100
	$(MAKE) loom-matrix SECONDS= TRIPLES=50 MATRIX_SEED=$$(date +%s)
	PROPTEST_CASES=10000 $(CARGO) test --release --test properties
	HIVE_THREADS_SECONDS=60 $(CARGO) test --release --test threads -- --nocapture
	HIVE_SILENT_WORKERS=800000 $(CARGO) test --release --test mass_silence -- --nocapture
	HIVE_HOSTILE_IDS=10000000 $(CARGO) test --release --test hostile -- --nocapture
	HIVE_CHURN_BEATS=1000000 $(CARGO) test --release --test churn -- --nocapture
	HIVE_STOP_SECONDS=60 $(CARGO) test --release --test time -- --nocapture
	CATALOG_KILLS=500 CATALOG_CUT_STEP=1 $(CARGO) test --release -p hive-catalog --test crash
	CATALOG_RECORDS=1000000 CATALOG_AUDIT_ROWS=600000 CATALOG_BEATING=100000 $(CARGO) test --release -p hive-catalog --test bulk
	$(MAKE) python
	HIVE_EXAMPLES=10000 $(VENV)/bin/python -m pytest tests/python/test_oracle.py
	$(MAKE) soak SECONDS=60
	$(MAKE) loom-mutants
	$(MAKE) asan
	$(MAKE) tsan
	$(MAKE) fuzz-replay
	$(MAKE) fuzz SECONDS=60

verify-ci: ## The bounded part of `verify` that CI runs
	$(MAKE) loom LOOM_BOUND=4
	$(MAKE) loom-matrix SECONDS=120
	PROPTEST_CASES=2000 $(CARGO) test --release --test properties
	HIVE_THREADS_SECONDS=10 $(CARGO) test --release --test threads -- --nocapture
	HIVE_SILENT_WORKERS=800000 $(CARGO) test --release --test mass_silence -- --nocapture
	HIVE_HOSTILE_IDS=100000 $(CARGO) test --release --test hostile -- --nocapture
	HIVE_CHURN_BEATS=100000 $(CARGO) test --release --test churn -- --nocapture
	HIVE_STOP_SECONDS=5 $(CARGO) test --release --test time -- --nocapture
	CATALOG_KILLS=100 CATALOG_CUT_STEP=37 $(CARGO) test --release -p hive-catalog --test crash
	CATALOG_RECORDS=50000 CATALOG_AUDIT_ROWS=50000 CATALOG_BEATING=20000 $(CARGO) test --release -p hive-catalog --test bulk
	$(MAKE) soak SECONDS=10
	$(MAKE) fuzz-replay
	$(MAKE) fuzz SECONDS=20

SHARD ?= 0/1
mutants: $(TOOLS)/bin/cargo-mutants ## One expression broken at a time; what no test notices must be in docs/mutants.md (SHARD=0/4 for a part)
	tests/mutants/survivors $(SHARD)

$(TOOLS)/bin/cargo-mutants:
	$(CARGO) install --quiet --locked --root $(TOOLS) cargo-mutants --version $(CARGO_MUTANTS)

# The thirds of a run are compared from 30 s on.
soak: SECONDS = 60
soak: ## A mixed load for a while: memory of its last third against the third before (SECONDS=60)
	HIVE_SOAK_SECONDS=$(SECONDS) $(CARGO) test --release --test soak -- --nocapture

bench: ## All that is timed, ours and the peers', and the report of it: docs/bench.md, docs/pick.svg
	@MAKE="$(MAKE)" benches/run

bench-build:
	$(CARGO) bench --workspace --no-run
	$(CARGO) build --release --locked $(PEERS)
	$(CARGO) build --release --locked $(REPORT)

# What an earlier run left goes first: a report is of one run. Three rounds, for a neighbour on a shared machine makes
# everything slower for minutes.
bench-catalog: ## The catalog: reads and batches beside bare rusqlite, 100,000 hives opened, migrated, listed and flushed
	$(CARGO) bench -p hive-catalog

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

bench-c: ## The same calls from Rust and from C, in one run
	PREFIX=$(CURDIR)/target/c/bench bindings/c/install
	HIVE_PREFIX=$(CURDIR)/target/c/bench $(CARGO) run --release --locked --manifest-path benches/c/Cargo.toml

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
	RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom $(CARGO) clippy --profile loom --lib --test loom --test loom_matrix -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps

lint-benches: ## The same for the crates beside the workspace; clippy not for the peers, which build for long
	for crate in c count peers report; do $(CARGO) fmt --check --manifest-path benches/$$crate/Cargo.toml || exit 1; done
	$(CARGO) clippy --locked --all-targets --manifest-path benches/count/Cargo.toml -- -D warnings
	$(CARGO) clippy --locked --all-targets $(REPORT) -- -D warnings

fmt: ## Format
	$(CARGO) fmt

$(TOOLS)/bin/cbindgen:
	$(CARGO) install --quiet --locked --root $(TOOLS) cbindgen --version $(CBINDGEN)

header: $(TOOLS)/bin/cbindgen ## include/hive_registry.h anew, from bindings/c
	$(TOOLS)/bin/cbindgen --quiet --config bindings/c/cbindgen.toml --crate hive-registry-c --lockfile Cargo.lock \
		--output include/hive_registry.h bindings/c

# Through the environment, as make hands on what it was told, so that a shell reads no part of it.
install-c uninstall-c: export PREFIX ?= /usr/local
install-c: ## Headers, libraries, pkg-config and CMake files for C and C++ (PREFIX=/usr/local, DESTDIR, LIBDIR=lib, INCLUDEDIR=include)
	bindings/c/install

uninstall-c: ## What install-c put there, told the same
	bindings/c/install --remove

doc: ## The documentation, opened in a browser
	$(CARGO) doc --workspace --no-deps --open

$(TOOLS)/bin/cargo-deny:
	$(CARGO) install --quiet --locked --root $(TOOLS) cargo-deny --version $(CARGO_DENY) --no-default-features

deny: $(TOOLS)/bin/cargo-deny ## Licences, duplicates and sources of the dependencies
	$(TOOLS)/bin/cargo-deny --workspace check licenses bans sources

deny-advisories: $(TOOLS)/bin/cargo-deny ## Known vulnerabilities; needs the network
	$(TOOLS)/bin/cargo-deny --workspace check advisories

$(TOOLS)/bin/cargo-fuzz:
	$(CARGO) install --quiet --locked --root $(TOOLS) cargo-fuzz --version $(CARGO_FUZZ)

fuzz: $(TOOLS)/bin/cargo-fuzz ## Each fuzz target for a while, from the committed corpus; finds go to target/ (SECONDS=20)
	@$(foreach target,$(FUZZ_TARGETS), mkdir -p target/fuzz/corpus/$(target) && \
		$(FUZZ) $(target) target/fuzz/corpus/$(target) fuzz/corpus/$(target) -- -max_total_time=$(SECONDS) \
			-max_len=4096 -timeout=10 -verbosity=0 -print_final_stats=1 $(FUZZ_DICT_$(target)) &&) true

fuzz-replay: $(TOOLS)/bin/cargo-fuzz ## Each fuzz target over the committed corpus only
	@$(foreach target,$(FUZZ_TARGETS), \
		$(FUZZ) $(target) fuzz/corpus/$(target) -- -runs=0 -timeout=10 -verbosity=0 -print_final_stats=1 &&) true

lint-fuzz: ## Formatting and clippy for the fuzz targets
	$(CARGO) fmt --check --manifest-path fuzz/Cargo.toml
	CARGO_TARGET_DIR=target/fuzz $(CARGO) clippy --locked --bins --manifest-path fuzz/Cargo.toml -- -D warnings

asan: ## Unit and integration tests under AddressSanitizer with leak checks
	RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address ASAN_OPTIONS=detect_leaks=1 CARGO_TARGET_DIR=target/asan \
		$(CARGO) test --target $(HOST) --lib $(ASAN_TESTS:%=--test %)

tsan: ## Threads and handles under ThreadSanitizer, as far as it goes with the standard library as it comes
	RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer" \
		TSAN_OPTIONS="suppressions=$(CURDIR)/fuzz/tsan.supp history_size=7" CARGO_TARGET_DIR=target/tsan \
		$(CARGO) test --target $(HOST) --test threads --test model

clean: ## Remove what was built and installed here
	$(CARGO) clean
	rm -rf $(TOOLS) .venv benches/*/target fuzz/target fuzz/artifacts
