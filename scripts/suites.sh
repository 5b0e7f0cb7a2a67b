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
  echo "  into .venv/api/ of this repository: schemathesis (tests/schemathesis/requirements.txt)"
  echo "  into .venv/sdks/ and tests/sdks/node_modules/: Microsoft's SDKs (tests/sdks/requirements.txt, package-lock.json)"
  echo "  into console/node_modules: what console/package-lock.json names"
  if [ "$(id -u)" = 0 ]; then
    echo "  as Debian packages (you are root): mosquitto-clients chromium"
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

# The binary that the suites start. Built with everything else at once: a build of one package alone would choose other
# features of shared libraries, and compile them, and all that stands on them, a second time.
# TEST_HUBWARD=/path names one that is there already.
build_hubward() {
  [ -z "${TEST_HUBWARD:-}" ] || return 0
  cargo build --workspace --all-targets --locked --quiet || { fail "build of the hubward binary"; return 1; }
}

hubward_binary() {
  local binary=${TEST_HUBWARD:-${CARGO_TARGET_DIR:-target}/debug/hubward}
  case $binary in /*) echo "$binary" ;; *) echo "$PWD/$binary" ;; esac
}

suite_rust() {
  build_hubward || return 0
  TEST_HUBWARD=$(hubward_binary) cargo test --workspace --locked --no-fail-fast 2>&1 | tee "$log"
  local status=${PIPESTATUS[0]} p f
  p=$(awk '/^test result:/ {n += $4} END {print n + 0}' "$log")
  f=$(awk '/^test result:/ {n += $6} END {print n + 0}' "$log")
  # Those that cargo ignores need other people's packages: the suites parity and docs run them.
  passed=$((passed + p)) failed=$((failed + f))
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

# Microsoft's own SDKs for Python and Node, unmodified, against local hubs on the standard ports.
suite_sdks() {
  ensure_sdks || return 0
  build_hubward || return 0
  # SDKS_ARGS=--write-table writes docs/sdks.md instead of comparing it (make sdks-table).
  TEST_HUBWARD=$(hubward_binary) scripts/hub-net .venv/sdks/bin/python tests/sdks/run.py ${SDKS_ARGS:-} 2>&1 | tee "$log"
  local status=${PIPESTATUS[0]} p f s
  read -r p f s < <(sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed, \([0-9]*\) skipped$/\1 \2 \3/p' "$log" | tail -n 1)
  passed=$((passed + ${p:-0})) failed=$((failed + ${f:-0})) skipped=$((skipped + ${s:-0}))
  [ "${f:-0}" = 0 ] || failures+=("$f cases of sdks, see above")
  [ "$status" = 0 ] || [ "${f:-0}" != 0 ] || fail "sdks: run.py exited $status"
  [ "${s:-0}" = 0 ] || [ "${CI:-}" != true ] || fail "sdks ($s cases not run, see above)"
}

ensure_sdks() {
  local sdks=$PWD/.venv/sdks
  if ! command -v python3 >/dev/null 2>&1 || ! command -v node >/dev/null 2>&1 || ! command -v npm >/dev/null 2>&1; then
    not_run sdks "python3, node or npm is missing" "install Python 3.10 or later and Node.js 20 or later"
    return 1
  fi
  if [ "$(node -p 'process.versions.node.split(".")[0] >= 20')" != true ]; then
    not_run sdks "Node.js $(node --version) is too old for Microsoft's packages" "install Node.js 20 or later"
    return 1
  fi
  local python_stamp=$sdks/.packages node_stamp=tests/sdks/node_modules/.packages
  if ! cmp -s "$python_stamp" tests/sdks/requirements.txt || ! cmp -s "$node_stamp" tests/sdks/package-lock.json; then
    if [ -n "${NO_INSTALL:-}" ]; then
      not_run sdks "Microsoft's packages are not in .venv/sdks/ and tests/sdks/node_modules/" "run make test without NO_INSTALL"
      return 1
    fi
    # Its own environment: the device SDK wants paho-mqtt 1.x, the clients' suite 2.x.
    { python3 -m venv "$sdks" && "$sdks/bin/pip" install -q -r tests/sdks/requirements.txt \
      && npm ci --prefix tests/sdks --no-audit --no-fund --silent; } >"$log" 2>&1 \
      || { tail -n 5 "$log"; not_run sdks "Microsoft's packages could not be installed" "see the lines above"; return 1; }
    cp tests/sdks/requirements.txt "$python_stamp"
    cp tests/sdks/package-lock.json "$node_stamp"
  fi
}

# The web console in Debian's Chromium: the whole integration by hand, on the real server with its console built in.
suite_console() {
  ensure_clients || return 0
  if [ -z "${TEST_CHROMIUM:-}" ] && ! command -v /usr/bin/chromium >/dev/null 2>&1; then
    if [ "$(id -u)" = 0 ] && [ -z "${NO_INSTALL:-}" ] && command -v apt-get >/dev/null 2>&1; then
      { apt-get install -y -q chromium || { apt-get update -q && apt-get install -y -q chromium; }; } >"$log" 2>&1 \
        || { tail -n 5 "$log"; not_run console "chromium could not be installed" "apt-get install chromium"; return; }
    else
      not_run console "chromium is missing" "Debian: apt-get install chromium; elsewhere name one: TEST_CHROMIUM=/path/to/chromium"
      return
    fi
  fi
  build_console || { not_run console "$console_lacks" "$console_remedy"; return; }
  build_hubward || return 0
  TEST_HUBWARD=$(hubward_binary) scripts/private-net node --test --test-reporter=spec --test-concurrency=1 tests/console/*.test.mjs 2>&1 | tee "$log"
  local status=${PIPESTATUS[0]} p f s
  tap() { grep -aE "^[^ ]+ $1 [0-9]+$" "$log" | awk '{n += $3} END {print n + 0}'; }
  p=$(tap pass) f=$(($(tap fail) + $(tap cancelled))) s=$(tap skipped)
  passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
  [ "$f" = 0 ] || failures+=("$f tests of console, see above")
  [ "$status" = 0 ] || [ "$f" != 0 ] || fail "console: node exited $status"
  [ "$p" != 0 ] || [ "$f" != 0 ] || fail "console ran no test"
}

# Requests that schemathesis makes of the OpenAPI document, answered as it says (SEED=N makes others).
suite_api() {
  if ! command -v python3 >/dev/null 2>&1; then
    not_run api "python3 is missing" "install Python 3.10 or later"
    return
  fi
  local api=$PWD/.venv/api
  if ! cmp -s "$api/.packages" tests/schemathesis/requirements.txt; then
    if [ -n "${NO_INSTALL:-}" ]; then
      not_run api "schemathesis is not in .venv/api/" "run make test without NO_INSTALL"
      return
    fi
    { python3 -m venv "$api" && "$api/bin/pip" install -q -r tests/schemathesis/requirements.txt; } >"$log" 2>&1 \
      || { tail -n 5 "$log"; not_run api "schemathesis could not be installed into .venv/api/" "see the lines above"; return; }
    cp tests/schemathesis/requirements.txt "$api/.packages"
  fi
  build_hubward || return 0
  step "api (schemathesis, see above)" env "TEST_HUBWARD=$(hubward_binary)" \
    scripts/private-net "$api/bin/python" tests/schemathesis/run.py
}

# The same message from Microsoft's SDKs and from Hubward, field by field.
suite_parity() {
  ensure_sdks || return 0
  if ! scripts/hub-net sh -c '[ "$HUB_NET" = private ]'; then
    not_run parity "this machine allows no network of its own, and the SDKs insist on ports 443, 5671 and 8883" \
      "run as root, or allow user namespaces"
    return
  fi
  build_hubward || return 0
  step "parity with Microsoft's SDKs" env TEST_HUBWARD="$(hubward_binary)" \
    scripts/hub-net cargo test --locked --offline --quiet --workspace --test parity -- --ignored
}

# The commands that README.md and docs/ tell a reader to type, and the code that docs/see-your-data.md shows.
suite_docs() {
  ensure_clients || return 0
  run_pytest docs tests/docs
  ensure_sdks || return 0
  step "the code of docs/see-your-data.md" env TEST_HUBWARD="$(hubward_binary)" \
    scripts/private-net cargo test --locked --offline --quiet --workspace --test see_your_data -- --ignored
}

# Puts the console where the build of the API takes it into the binary; says what it lacks.
build_console() {
  if ! command -v node >/dev/null 2>&1 || [ "$(node -p 'process.versions.node.split(".")[0]')" -lt 20 ]; then
    console_lacks="Node 20 or newer is missing" console_remedy="install Node 20 or newer"
    return 1
  fi
  scripts/console >"$log" 2>&1 \
    || { tail -n 5 "$log"; console_lacks="the console could not be built" console_remedy="see the lines above"; return 1; }
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
  build_hubward || return 0
  TEST_HUBWARD=$(hubward_binary) scripts/private-net "$venv/bin/python" -m pytest -q -p no:cacheprovider "$2" 2>&1 | tee "$log"
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
