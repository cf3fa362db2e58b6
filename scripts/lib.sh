# shellcheck shell=bash
# Functions that the scripts in this folder share. To be sourced; must not do anything by itself.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export ROOT

# What CMake needs to build the binary, and what the binary loads when it runs.
BUILD_PACKAGES=(build-essential cmake ninja-build pkg-config liblua5.4-dev libsqlite3-dev libuv1-dev libyaml-dev
    libpcre2-dev libexpat1-dev libutf8proc-dev libgumbo-dev zlib1g-dev
    libcurl4-openssl-dev libmicrohttpd-dev libssl-dev ca-certificates tzdata)
# What the tests and the checks of the source need on top.
TEST_PACKAGES=(python3 python3-httpbin python3-pip python3-prometheus-client libcmocka-dev lua5.4 lua-cjson-dev strace openssl
    sqlite3 iso-codes git cmark-gfm faketime slowhttptest shellcheck lua-check clang-format-14
    zsh fish mandoc man-db)
FUZZ_PACKAGES=(clang-14 libclang-rt-14-dev)
# What the bench needs on top. PostgreSQL, for the peers that want one, is not among them: its package starts a server.
BENCH_PACKAGES=(wrk)
export BUILD_PACKAGES TEST_PACKAGES BENCH_PACKAGES FUZZ_PACKAGES

step() {
    printf '== %s\n' "$*"
}

note() {
    printf '   %s\n' "$*"
}

fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

have() {
    command -v "$1" >/dev/null 2>&1
}

is_installed() {
    [ "$(dpkg-query -W -f='${db:Status-Abbrev}' "$1" 2>/dev/null | cut -c1-2)" = ii ]
}

# need_packages NAME...: installs the Debian packages that are missing. WORKERS_NO_INSTALL=1 only reports them.
need_packages() {
    local missing=() name
    if ! have apt-get || ! have dpkg-query; then
        note "this is no Debian: make sure that these packages' counterparts are there: $*"
        return 0
    fi
    for name in "$@"; do
        is_installed "$name" || missing+=("$name")
    done
    [ "${#missing[@]}" -gt 0 ] || return 0
    local by_hand="apt-get install --no-install-recommends ${missing[*]}"
    if [ "${WORKERS_NO_INSTALL:-}" = 1 ]; then
        note "not installed, because WORKERS_NO_INSTALL=1: ${missing[*]}"
        return 0
    fi
    local as_root=(env DEBIAN_FRONTEND=noninteractive)
    if [ "$(id -u)" -ne 0 ]; then
        have sudo || fail "these packages are missing: ${missing[*]}. Installing them takes root and there is no sudo here; as root, run: $by_hand"
        as_root=(sudo env DEBIAN_FRONTEND=noninteractive)
    fi
    step "installing ${missing[*]}"
    "${as_root[@]}" apt-get update -qq </dev/null ||
        note "apt-get update failed; going on with the package lists that are there"
    "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null >/dev/null ||
        fail "cannot install the packages; see apt-get's message above. By hand, as root: apt-get update && $by_hand"
}

# How many jobs to build with: the processors, but one for every GiB of memory at most.
job_count() {
    local cpus memory
    cpus=$(nproc 2>/dev/null || echo 1)
    memory=$(awk '/^MemTotal:/ { print int($2 / 1048576) }' /proc/meminfo 2>/dev/null || echo 1)
    [ "${memory:-0}" -ge 1 ] || memory=1
    [ "$cpus" -le "$memory" ] || cpus=$memory
    echo "$cpus"
}

# build_preset PRESET [CMAKE OPTION...] [--target NAME]: configures and builds build/PRESET. Only warnings are shown, and
# what went wrong; the whole output is in build/PRESET.log.
build_preset() {
    local preset=$1 log=$ROOT/build/$1.log options=() target=()
    shift
    while [ "$#" -gt 0 ]; do
        if [ "$1" = --target ]; then
            target=(--target "$2")
            shift
        else
            options+=("$1")
        fi
        shift
    done
    if have ccache; then
        options+=(-DCMAKE_C_COMPILER_LAUNCHER=ccache)
    fi
    mkdir -p "$ROOT/build"
    step "building $preset"
    if ! (cd "$ROOT" && cmake --preset "$preset" "${options[@]}" &&
        cmake --build --preset "$preset" "${target[@]}" -j "$(job_count)") >"$log" 2>&1 </dev/null; then
        { grep -E -A12 'error:|FAILED:|CMake Error' "$log" || tail -40 "$log"; } | head -100 >&2
        printf 'error: building %s failed; the whole output is in %s\n' "$preset" "$log" >&2
        return 1
    fi
    grep -E 'warning:' "$log" >&2 || true
}
