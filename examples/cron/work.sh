#!/bin/sh
# Asks a Patchbay host to work off its queue, for cron and other schedulers. See README.md beside this file.
#
#   PATCHBAY_URL            where Patchbay is; default: http://127.0.0.1:8080
#   PATCHBAY_WORKER_SECRET  the host's worker secret, or
#   PATCHBAY_WORKER_SECRET_FILE  a file that holds it; default: /etc/patchbay/worker-secret
#
# Usage: work.sh [token-refresh|webhooks|publish|deliver|fetch|metrics]…
set -eu

url=${PATCHBAY_URL:-http://127.0.0.1:8080}
secret=${PATCHBAY_WORKER_SECRET:-}
[ -n "$secret" ] || secret=$(cat "${PATCHBAY_WORKER_SECRET_FILE:-/etc/patchbay/worker-secret}")
[ $# -gt 0 ] || set -- webhooks token-refresh publish deliver fetch metrics

failed=0
for work in "$@"; do
    # The secret comes in by standard input: arguments can be read by everybody on the machine. A pass begins nothing
    # after 25 s, and a step of its may take longer; it goes on when nobody waits for it any more.
    answer=$(printf 'header = "Authorization: Bearer %s"\n' "$secret" |
        curl --config - --silent --show-error --max-time 55 --request POST --write-out '\n%{http_code}' \
            "$url/api/workers/$work") || { failed=1; continue; }
    body=${answer%
*}
    status=${answer##*
}
    case $status in
        200) printf '%s: %s\n' "$work" "$body" ;;
        # Another one is at it.
        409) printf '%s: a pass is under way\n' "$work" ;;
        404) printf '%s: %s has no such endpoint: set WORKER_SECRET there\n' "$work" "$url" >&2 && failed=1 ;;
        *) printf '%s: %s %s\n' "$work" "$status" "$body" >&2 && failed=1 ;;
    esac
done
exit $failed
