# The commands of this repository. `make help` lists them.

FOR ?= 20s
SCENARIO ?= first
SECONDS ?= 60

.DEFAULT_GOAL := help
.PHONY: help run build console screenshots test test-azure lint fmt bench soak fuzz openapi golden doc sdks-table settings-table

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'
	@echo
	@echo '  Variables: FOR=20s (run), SCENARIO=first (bench), SECONDS=60 (fuzz), NO_INSTALL=1 (test installs nothing)'

run: ## check what is needed, build, and show the main job: devices' signals arriving in a local IoT Hub
	@scripts/check-needs
	@scripts/console if-possible
	cargo build --release --locked -p hubward
	@$${CARGO_TARGET_DIR:-target}/release/hubward demo --for $(FOR)

build: ## the release binary, target/release/hubward
	@scripts/check-needs
	@scripts/console if-possible
	cargo build --release --locked -p hubward

console: ## the web console, which the next build takes in (needs Node 20 or newer)
	@scripts/console

screenshots: ## write docs/screenshots/*.png with the console of target/debug/hubward
	@scripts/console
	cargo build --locked -p hubward
	node tests/console/screenshots.mjs

test: ## everything: format, lints, unit tests, end-to-end tests with real clients, the documents' commands
	@scripts/test

test-azure: ## the whole way at a real IoT Hub, whose iothubowner string HUBWARD_AZURE_CONNECTION_STRING_FILE names
	@cargo run --locked --quiet -p hubward-tests --bin test-azure

lint: ## format and clippy, warnings denied
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

fmt: ## format all code
	cargo fmt --all

doc: ## the crates' documentation in target/doc
	cargo doc --workspace --no-deps --locked

bench: ## figures beside a peer, one interleaved run (SCENARIO=first|attach|memory|console|fault)
	@scripts/bench $(SCENARIO)

soak: ## the tests with larger numbers (minutes to hours)
	@scripts/soak

fuzz: ## mutate the kept corpus against every decoder for SECONDS each
	cargo run --release --locked -p hubward-fuzz -- --seconds $(SECONDS)

openapi: ## write the API's description, crates/api/openapi.json, as the routes say it
	OPENAPI=write cargo test --locked -p hubward-api --test http openapi

settings-table: ## write the table of settings in docs/operations.md (make test compares it)
	SETTINGS=write cargo test --locked -p hubward --lib settings_table

sdks-table: ## write docs/sdks.md from a run of Microsoft's SDKs (make test compares it)
	@SDKS_ARGS=--write-table scripts/test sdks

golden: ## write the golden files of a new journal format (FORMAT=2); those of older formats never change
	@test -n "$(FORMAT)" || { echo "say which format: make golden FORMAT=2" >&2; exit 1; }
	HUBWARD_WRITE_GOLDEN=$(FORMAT) cargo test --locked -p hubward-journal --test journal golden
