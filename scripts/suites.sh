# The suites of `make test`, sourced by scripts/test. Each adds to passed, failed, skipped, or calls not_run.

passed=0 failed=0 skipped=0
failures=()
log=$(mktemp)
trap 'rm -f "$log"' EXIT

venv=$PWD/.venv
client_packages=(pytest==8.3.4 paho-mqtt==2.2.0 azure-eventhub==5.15.1 azure-iot-hub==2.7.0 six)

announce_installs() {
  if [ -n "${NO_INSTALL:-}" ]; then
    echo "NO_INSTALL is set: nothing will be installed"
    return
  fi
  echo "this will install, where they are missing:"
  echo "  into .venv/ of this repository: ${client_packages[*]}"
  if [ "$(id -u)" = 0 ]; then
    echo "  as Debian packages (you are root): mosquitto-clients"
  else
    echo "  nothing outside this repository (you are not root)"
  fi
}

fail() { failed=$((failed + 1)); failures+=("$1"); }

not_run() { # suite, reason, remedy
  echo "NOT RUN: $1: $2; $3"
  if [ "${CI:-}" = true ]; then fail "$1 (not run: $2)"; else skipped=$((skipped + 1)); fi
}

step() { # name, command...: one check that passes or fails as a whole
  local name=$1
  shift
  if "$@"; then passed=$((passed + 1)); else fail "$name"; fi
}

suite_lint() {
  step "format (run: make fmt)" cargo fmt --all --check
  step "clippy" cargo clippy --workspace --all-targets --locked --quiet -- -D warnings
  step "documentation" env RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --quiet
}

suite_rust() {
  cargo build --locked -p hubward || { fail "build of the hubward binary"; return; }
  TEST_HUBWARD=$PWD/${CARGO_TARGET_DIR:-target}/debug/hubward \
    cargo test --workspace --locked --no-fail-fast 2>&1 | tee "$log"
  local status=${PIPESTATUS[0]} p f s
  p=$(awk '/^test result:/ {n += $4} END {print n + 0}' "$log")
  f=$(awk '/^test result:/ {n += $6} END {print n + 0}' "$log")
  s=$(awk '/^test result:/ {n += $8} END {print n + 0}' "$log")
  passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
  [ "$f" = 0 ] || failures+=("$f Rust tests, see above")
  # A suite that did not compile, or died, counts no test but must not pass.
  [ "$status" = 0 ] || [ "$f" != 0 ] || fail "cargo test exited $status"
  [ "$p" != 0 ] || fail "cargo test ran no test"
}

# Real clients from outside: mosquitto_pub, paho-mqtt, and Microsoft's readers and registry client.
suite_clients() {
  ensure_clients || return 0
  run_pytest clients tests/clients
}

# The commands that README.md and docs/ tell a reader to type.
suite_docs() {
  ensure_clients || return 0
  run_pytest docs tests/docs
}

ensure_clients() {
  if ! command -v python3 >/dev/null 2>&1; then
    not_run clients "python3 is missing" "install Python 3.10 or later"
    return 1
  fi
  if ! command -v mosquitto_pub >/dev/null 2>&1; then
    if [ "$(id -u)" = 0 ] && [ -z "${NO_INSTALL:-}" ] && command -v apt-get >/dev/null 2>&1; then
      { apt-get install -y -q mosquitto-clients || { apt-get update -q && apt-get install -y -q mosquitto-clients; }; } >"$log" 2>&1 \
        || { tail -n 5 "$log"; not_run clients "mosquitto-clients could not be installed" "apt-get install mosquitto-clients"; return 1; }
    else
      not_run clients "mosquitto_pub is missing" "Debian, Ubuntu: apt-get install mosquitto-clients"
      return 1
    fi
  fi
  local stamp=$venv/.packages
  if [ "$(cat "$stamp" 2>/dev/null)" != "${client_packages[*]}" ]; then
    if [ -n "${NO_INSTALL:-}" ]; then
      not_run clients "the Python clients are not in .venv/" "run make test without NO_INSTALL"
      return 1
    fi
    { python3 -m venv "$venv" && "$venv/bin/pip" install -q "${client_packages[@]}"; } >"$log" 2>&1 \
      || { tail -n 5 "$log"; not_run clients "the Python clients could not be installed into .venv/" "see the lines above"; return 1; }
    echo "${client_packages[*]}" >"$stamp"
  fi
  return 0
}

run_pytest() { # suite, folder
  cargo build --locked --quiet -p hubward || { fail "build of the hubward binary"; return; }
  TEST_HUBWARD=$PWD/${CARGO_TARGET_DIR:-target}/debug/hubward \
    scripts/private-net "$venv/bin/python" -m pytest -q -p no:cacheprovider "$2" 2>&1 | tee "$log"
  local status=${PIPESTATUS[0]} line p f s
  line=$(grep -E '^[0-9]+ (passed|failed|skipped|error)|^=.*(passed|failed|error)' "$log" | tail -n 1)
  count() { echo "$line" | grep -oE "[0-9]+ $1" | awk '{n += $1} END {print n + 0}'; }
  p=$(count passed) f=$(($(count failed) + $(count error))) s=$(count skipped)
  passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
  [ "$f" = 0 ] || failures+=("$f tests of $1, see above")
  [ "$status" = 0 ] || [ "$f" != 0 ] || fail "$1: pytest exited $status"
}

finish() {
  echo
  local name
  for name in "${failures[@]}"; do echo "failed: $name"; done
  echo "$passed passed, $failed failed, $skipped skipped"
  [ "$failed" = 0 ]
}
