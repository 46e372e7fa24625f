# What lane `examples` runs: each example as its README says, against a host of its own.

example_quickstart() {
    # Not local: the trap runs when the function is over.
    DEMO_LOG=$(mktemp)
    "$(target_dir)/release/patchbay" demo --port 0 >"$DEMO_LOG" 2>&1 &
    DEMO=$!
    trap 'kill "$DEMO" 2>/dev/null || true; wait "$DEMO" || true; rm -f "$DEMO_LOG"' EXIT
    # Its own story first: afterwards an account is connected.
    appears '^Now it is yours' "$DEMO_LOG" "$DEMO"
    local url
    url=$(sed -n 's|^Patchbay is serving at  \(http://.*\)/$|\1|p' "$DEMO_LOG")
    PATCHBAY_URL=$url examples/quickstart/run.sh
}

example_cron() {
    local patchbay url said
    patchbay=$(target_dir)/release/patchbay
    CRON=$(mktemp -d)
    trap 'kill "$HOST" 2>/dev/null || true; wait "$HOST" || true; rm -rf "$CRON"' EXIT
    head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$CRON/worker-secret"
    (cd "$CRON" && WORKER_SECRET=$(cat worker-secret) PATCHBAY__SERVER__LISTEN=127.0.0.1:0 PATCHBAY__LOG__FORMAT=json \
        exec "$patchbay" serve --api-only) >"$CRON/log" 2>&1 &
    HOST=$!
    appears 'Patchbay is serving' "$CRON/log" "$HOST"
    url=http://$(sed -n 's|.*"address":"\([^"]*\)".*|\1|p' "$CRON/log")

    said=$(PATCHBAY_URL=$url PATCHBAY_WORKER_SECRET_FILE=$CRON/worker-secret examples/cron/work.sh)
    echo "$said"
    # One line for each kind of work that the script asks for, whatever those are by now.
    local asked
    asked=$(sed -n 's/.*|| set -- //p' examples/cron/work.sh | wc -w)
    [[ $(grep -c ': {"success":true,"processed":0}$' <<<"$said") -eq $asked ]]
    said=$(PATCHBAY_URL=$url PATCHBAY_WORKER_SECRET_FILE=$CRON/worker-secret examples/cron/work.sh token-refresh)
    [[ $said = 'token-refresh: {"success":true,"processed":0}' ]]
    if said=$(PATCHBAY_URL=$url PATCHBAY_WORKER_SECRET=wrong examples/cron/work.sh webhooks 2>&1); then
        echo "a wrong secret was taken" >&2
        return 1
    fi
    grep -q 'webhooks: 401' <<<"$said"

    kill "$HOST"
    wait "$HOST"
    said=$(cd "$CRON" && "$patchbay" worker --once 2>>log)
    echo "worker --once: $said"
    grep -q '^{"processed":0,' <<<"$said"
}

example_systemd() {
    if ! command -v systemd-analyze >/dev/null; then
        echo "There is no systemd-analyze, so the units are not checked."
        return 0
    fi
    local unit
    UNITS=$(mktemp -d)
    trap 'rm -rf "$UNITS"' EXIT
    for unit in examples/systemd/*.service; do
        sed "s|/usr/local/bin/patchbay|$(target_dir)/release/patchbay|" "$unit" >"$UNITS/$(basename "$unit")"
    done
    # It ends with 0 for what it only warns of.
    systemd-analyze verify "$UNITS"/*.service 2>&1 | tee "$UNITS/said"
    [[ ! -s $UNITS/said ]]
    echo "The units are in order."
}

example_lambda() {
    need zip zip
    examples/lambda/build.sh
    python3 - <<'END' 2>/dev/null || unzip -l examples/lambda/build/patchbay-lambda.zip | grep -q bootstrap
import zipfile
[info] = zipfile.ZipFile("examples/lambda/build/patchbay-lambda.zip").infolist()
assert info.filename == "bootstrap" and (info.external_attr >> 16) & 0o111
END
}

# appears PATTERN FILE PID: waits until a process has written it.
appears() {
    local until=$((SECONDS + 180))
    until grep -q "$1" "$2"; do
        if ! kill -0 "$3" 2>/dev/null || [[ $SECONDS -gt $until ]]; then
            cat "$2" >&2
            return 1
        fi
        sleep 0.2
    done
}
