#!/bin/sh
# From nothing to a published post with curl alone. See README.md beside this file.
#
#   PATCHBAY_URL       where Patchbay is; default: http://127.0.0.1:8080
#   PATCHBAY_KEY       API key; `patchbay demo` needs none
#   PATCHBAY_PLATFORM  default: tiktok
#   PATCHBAY_OPTIONS   the platform's own options of the post; default: only the author sees it
#
# Usage: run.sh [FILE]
set -eu

url=${PATCHBAY_URL:-http://127.0.0.1:8080}
platform=${PATCHBAY_PLATFORM:-tiktok}
options=${PATCHBAY_OPTIONS:-'{"privacy_level":"SELF_ONLY"}'}
file=${1:-$(dirname "$0")/sample.mp4}
patience=600

# call METHOD PATH [CURL OPTIONS]: prints the answer; an error is printed too, and ends the script.
call() {
    method=$1 path=$2
    shift 2
    [ -z "${PATCHBAY_KEY:-}" ] || set -- --header "Authorization: Bearer $PATCHBAY_KEY" "$@"
    curl --silent --show-error --fail-with-body --request "$method" "$@" "$url$path" || {
        printf '\n%s %s failed\n' "$method" "$path" >&2
        exit 1
    }
}

# field NAME: the first text of this name in a JSON document. A real client would read JSON properly.
field() {
    grep -o "\"$1\":\"[^\"]*\"" | head -n 1 | cut -d '"' -f 4
}

show() {
    if command -v jq >/dev/null; then jq .; else cat && echo; fi
}

step() {
    printf '\n--- %s\n' "$*"
}

step "Platforms: GET /api/platforms"
call GET /api/platforms | show

step "Connected? GET /api/platforms/$platform/status"
state=$(call GET "/api/platforms/$platform/status")
printf '%s\n' "$state" | show
case $state in
    *'"connected":true'*) ;;
    *)
        step "Connect: POST /api/platforms/$platform/connect-sessions"
        session=$(call POST "/api/platforms/$platform/connect-sessions" --json '{"owner":"quickstart","activate":true}')
        printf 'Open this in a browser and agree:\n\n  %s\n\nWaiting …\n' "$(printf '%s' "$session" | field connect_url)"
        waited=0
        until call GET "/api/platforms/$platform/status" | grep -q '"connected":true'; do
            [ $waited -lt $patience ] || { echo "Nobody connected an account." >&2; exit 1; }
            sleep 2
            waited=$((waited + 2))
        done
        state=$(call GET "/api/platforms/$platform/status")
        ;;
esac
account=$(printf '%s' "$state" | field accountId)

step "What may $account post now? GET …/accounts/$account/publish-options"
call GET "/api/platforms/$platform/accounts/$account/publish-options" |
    sed 's/^.*"live"://; s/,"options":.*$//' | show

step "Upload $file: POST /api/media"
media=$(call POST "/api/media?name=quickstart" --header 'Content-Type: video/mp4' --header 'Expect:' --upload-file "$file")
printf '%s\n' "$media" | show
media=$(printf '%s' "$media" | field id)

step "Post it: POST /api/platforms/$platform/posts"
# The key makes the request safe to send again: there will still be one post.
key=quickstart-$(date +%s)-$$
# The same once more on one day would be refused; `"allow_duplicate": true` says that you mean it.
wanted=$(printf '{"account_id":"%s","kind":"video","title":"Hello from the quickstart at %s","media":[{"id":"%s"}],"options":%s}' \
    "$account" "$(date +%T)" "$media" "$options")
post=$(call POST "/api/platforms/$platform/posts" --json "$wanted" --header "Idempotency-Key: $key")
printf '%s\n' "$post" | show
post=$(printf '%s' "$post" | field id)

step "The same request again gives the same post"
again=$(call POST "/api/platforms/$platform/posts" --json "$wanted" --header "Idempotency-Key: $key" | field id)
echo "$again"
[ "$again" = "$post" ]

step "Follow it: GET /api/platforms/$platform/posts/$post"
waited=0
seen=
while :; do
    answer=$(call GET "/api/platforms/$platform/posts/$post")
    status=$(printf '%s' "$answer" | field status)
    phase=$(printf '%s' "$answer" | field phase)
    if [ "$status $phase" != "$seen" ]; then
        echo "$status${phase:+: $phase}"
        seen="$status $phase"
    fi
    case $status in
        published | inbox_delivered) break ;;
        failed | cancelled | unconfirmed)
            printf '%s\n' "$answer" | show
            exit 1
            ;;
    esac
    [ $waited -lt $patience ] || { echo "It takes longer than $patience s." >&2; exit 1; }
    sleep 1
    waited=$((waited + 1))
done
printf '%s\n' "$answer" | show

step "What happened: GET /api/events?post_id=$post"
call GET "/api/events?post_id=$post" | show

printf '\nPost %s is %s.\n' "$post" "$status"
