# A throwaway PostgreSQL: a fresh data folder, loopback only, nothing synced to disk, gone at the end.

PG_DIR=
PG_BIN=

# Sets PATCHBAY_TEST_POSTGRES, unless it is set.
start_postgres() {
    [[ -z ${PATCHBAY_TEST_POSTGRES:-} ]] || return 0
    need_postgres || return 1
    # The path of a Unix socket is at most 107 bytes long, and macOS has long temporary folders.
    PG_DIR=$(mktemp -d /tmp/patchbay-postgres.XXXXXX)
    PG_USER=$(id -un)
    if [[ $(id -u) -eq 0 ]]; then
        # The server refuses to run as root.
        PG_USER=nobody
        ! id -u postgres >/dev/null 2>&1 || PG_USER=postgres
        chown "$PG_USER" "$PG_DIR"
    fi
    if ! as_postgres "$PG_BIN/initdb" -D "$PG_DIR/data" -U postgres -A trust -E UTF8 --locale=C --no-sync \
        >"$PG_DIR/initdb.log" 2>&1; then
        cat "$PG_DIR/initdb.log" >&2
        return 1
    fi
    local port try
    for try in 1 2 3 4 5; do
        # Below the ports that systems hand out by themselves.
        port=$((15000 + RANDOM % 15000))
        ! (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null || continue
        if as_postgres "$PG_BIN/pg_ctl" -D "$PG_DIR/data" -l "$PG_DIR/log" -w -t 180 start -o "-p $port -k $PG_DIR \
            -c listen_addresses=127.0.0.1 -c fsync=off -c full_page_writes=off -c max_connections=1000" >/dev/null 2>&1
        then
            export PATCHBAY_TEST_POSTGRES="postgres://postgres@127.0.0.1:$port/postgres"
            echo "$("$PG_BIN/postgres" --version) on port $port, in $PG_DIR until the end"
            return 0
        fi
    done
    echo "tests/run: PostgreSQL did not start:" >&2
    tail -n 20 "$PG_DIR/log" >&2
    return 1
}

stop_postgres() {
    [[ -n $PG_DIR ]] || return 0
    [[ ! -e $PG_DIR/data/postmaster.pid ]] ||
        as_postgres "$PG_BIN/pg_ctl" -D "$PG_DIR/data" -m immediate -w stop >/dev/null 2>&1 || true
    rm -rf "$PG_DIR"
    PG_DIR=
}

# Installs it if it is missing, and sets PG_BIN.
need_postgres() {
    ! find_postgres || return 0
    install_packages postgresql || return 1
    find_postgres || { echo "tests/run: PostgreSQL was installed, but there is no initdb" >&2; return 1; }
}

# Debian keeps the server's programs off the PATH, one folder for each version.
find_postgres() {
    local folder
    for folder in $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -rV) \
        "$(dirname "$(command -v initdb || echo /nowhere/initdb)")"; do
        if [[ -x $folder/initdb && -x $folder/pg_ctl && -x $folder/postgres ]]; then
            PG_BIN=$folder
            return 0
        fi
    done
    return 1
}

as_postgres() {
    # From /, because the server's user may not see the folder that we are in.
    if [[ $(id -u) -ne 0 ]]; then
        (cd / && "$@")
    elif command -v runuser >/dev/null; then
        (cd / && runuser -u "$PG_USER" -- "$@")
    else
        (cd / && su -s /bin/sh "$PG_USER" -c "$(printf '%q ' "$@")")
    fi
}
