# The lanes. To add one: its name here, a line in `about`, and a function.

LANES=(lint unit conformance store e2e wasm bluesky contract pages faults drift demo examples deny)

about() {
    case $1 in
        lint) echo 'formatting, and clippy without warnings' ;;
        unit) echo 'every crate by itself, and the examples in its documentation' ;;
        conformance) echo 'every provider before the laws of the kit, the kit before providers that break them, and a new provider' ;;
        store) echo 'the stores: one suite on SQLite and PostgreSQL' ;;
        e2e) echo 'whole hosts against simulated platforms' ;;
        wasm) echo 'providers as WebAssembly components: good ones, hostile ones, and the main story with one' ;;
        bluesky) echo "whole hosts against Bluesky's own server software, which npm brings (Linux on x64 alone), with the provider that is built in and with its component" ;;
        contract) echo 'the OpenAPI document, signatures of what is pushed, and uploads, by tools of others: linters, clients, browsers' ;;
        pages) echo 'the pages for end users in a browser: journeys, the audit of TikTok, accessibility, policy, widgets' ;;
        faults) echo 'hosts and their database killed, stopped and cut off, and a count of what that did' ;;
        drift) echo 'generated files are up to date (UPDATE=1 writes them)' ;;
        demo) echo 'cargo run --release -- demo: both posts end as published' ;;
        examples) echo 'each of examples/ but typescript (contract) and providers (conformance, wasm), against a running demo or a host of its own' ;;
        deny) echo "licences, banned crates and sources, by cargo-deny (skipped where it is missing, unless named)" ;;
    esac
}

# What a lane needs of the parent shell.
prepare() {
    case $1 in
        store | e2e | wasm | bluesky | contract | faults) start_postgres ;;
    esac
}

lane_lint() {
    local formatted=yes
    cargo fmt --all --check >/dev/null || formatted=no
    if [[ $formatted = no ]]; then
        echo "Not formatted ('cargo fmt' mends it):"
        cargo fmt --all -- --check -l | sort -u || true
    fi
    # Also then, so that one run shows everything.
    cargo clippy --locked --workspace --all-targets -- -D warnings
    # By itself, so that the feature is on in nothing else.
    cargo clippy --locked -p patchbay-server --features failpoints -- -D warnings
    [[ $formatted = yes ]]
}

lane_unit() {
    # What the measurements of tests/bench stand on: here, so that no test has to install or build it beside others. Where it
    # cannot be had, those are skipped, but not under CI.
    { need_postgres && need curl curl ca-certificates && require_node; } || [[ -z ${CI:-} ]]
    build_programs
    tests_where 'not (package(patchbay-conformance) | binary(conformance) | package(patchbay-store) | package(patchbay-e2e) | ((package(patchbay-faults) | package(patchbay-wasm)) & kind(test)) | (package(patchbay-bench) & test(/\bguests::/)) | test(/\bdrift::/))' \
        --workspace --exclude patchbay-conformance --exclude patchbay-store --exclude patchbay-e2e --exclude patchbay-faults \
        --exclude patchbay-wasm --lib --bins --tests -- --skip drift:: --skip guests::
    cargo test --locked --workspace --doc --quiet
}

# In a provider's crate, the test binary of that name is its case (tests/architecture).
lane_conformance() {
    build_programs
    tests_where '(package(patchbay-conformance) | binary(conformance) | binary(scaffold)) & not test(/\bcomponents::/)' \
        --workspace --test conformance --test teeth --test waivers --test scaffold -- --skip components::
}

lane_store() {
    tests_where 'package(patchbay-store)' -p patchbay-store
}

lane_e2e() {
    build_programs
    tests_where 'package(patchbay-e2e) & not binary(scaffold) & not test(/\b(bluesky|components|hostile|document|standard_webhooks|tus_clients|s3_media|s3_failures)::|_a_bucket$/)' \
        -p patchbay-e2e --lib --test it --test process -- --skip bluesky:: --skip components:: --skip hostile:: --skip document:: --skip standard_webhooks:: \
        --skip tus_clients:: --skip s3_media:: --skip s3_failures:: --skip _a_bucket
}

lane_bluesky() {
    [[ $(uname -sm) = 'Linux x86_64' ]] || return "$SKIPPED"
    start_bluesky
    build_components patchbay-component-bluesky
    tests_where 'package(patchbay-e2e) & test(/\bbluesky::/)' -p patchbay-e2e --test it -- bluesky::
}

lane_wasm() {
    build_components patchbay-hostile patchbay-example-provider patchbay-component-{bluesky,quill,tiktok}
    component_in_javascript "$PATCHBAY_TEST_COMPONENTS/patchbay-example-provider-js.wasm"
    build_programs
    tests_where 'package(patchbay-wasm)' -p patchbay-wasm --tests
    tests_where 'package(patchbay-e2e) & test(/\b(components|hostile)::/)' -p patchbay-e2e --tests -- components:: hostile::
    tests_where 'package(patchbay-bench) & test(/\bguests::/)' -p patchbay-bench --test names -- guests::
    # The case of its source, and the component in its place.
    PATCHBAY_CONFORMANCE_COMPONENT=$PATCHBAY_TEST_COMPONENTS/patchbay-component-tiktok.wasm \
        tests_where 'package(patchbay-provider-tiktok) & binary(conformance)' -p patchbay-provider-tiktok --test conformance
    # The case of the platform that it plays.
    PATCHBAY_CONFORMANCE_COMPONENT=$PATCHBAY_TEST_COMPONENTS/patchbay-example-provider-js.wasm \
        tests_where 'package(patchbay-provider-quill) & binary(conformance)' -p patchbay-provider-quill --test conformance
}

# component_in_javascript FILE: checks the types of examples/wasm-provider-js, and builds it.
component_in_javascript() {
    require_node
    local modules
    modules=$(node_packages examples/wasm-provider-js)
    (
        cd examples/wasm-provider-js
        export PATH=$modules/.bin:$PATH
        npm run --silent check
        npm run --silent build -- --output "$1"
    )
}

lane_contract() {
    require_node
    lint_document
    build_programs
    PATCHBAY_TEST_SCHEMATHESIS=$(python_tool schemathesis 4.32.5)
    PATCHBAY_TEST_NODE_MODULES=$(node_packages examples/typescript)
    PATCHBAY_TEST_STANDARDWEBHOOKS_PYTHON=$(python_tool standardwebhooks 1.1.0 python)
    PATCHBAY_TEST_STANDARDWEBHOOKS_NODE=$(node_packages tests/e2e/standard_webhooks)
    PATCHBAY_TEST_TUS_PYTHON=$(python_tool tuspy 1.1.0 python)
    PATCHBAY_TEST_TUS_NODE=$(node_packages tests/e2e/tus)
    PATCHBAY_TEST_S3RVER=$(node_packages tests/e2e/s3)
    export PATCHBAY_TEST_TUS_PYTHON PATCHBAY_TEST_TUS_NODE PATCHBAY_TEST_S3RVER
    export PATCHBAY_TEST_SCHEMATHESIS PATCHBAY_TEST_NODE_MODULES
    export PATCHBAY_TEST_STANDARDWEBHOOKS_PYTHON PATCHBAY_TEST_STANDARDWEBHOOKS_NODE
    if need chromium chromium; then
        PATCHBAY_TEST_CHROMIUM=$(command -v chromium)
        export PATCHBAY_TEST_CHROMIUM
    elif [[ -n ${CI:-} ]]; then
        return 1
    fi
    tests_where 'package(patchbay-e2e) & test(/\b(document|standard_webhooks|tus_clients|s3_media|s3_failures)::|_a_bucket$/)' \
        -p patchbay-e2e --tests -- document:: standard_webhooks:: tus_clients:: s3_media:: s3_failures:: _a_bucket
}

# A browser and a host with a simulated platform. Screenshots go to tests/artifacts/pages.
lane_pages() {
    require_node
    if ! need chromium chromium; then
        [[ -z ${CI:-} ]] || return 1
        return "$SKIPPED"
    fi
    build_programs
    PATCHBAY_TEST_PAGES_MODULES=$(node_packages tests/pages)
    PATCHBAY_TEST_CHROMIUM=$(command -v chromium)
    export PATCHBAY_TEST_PAGES_MODULES PATCHBAY_TEST_CHROMIUM
    # Half an hour for a file: what hangs is named.
    node --test --test-concurrency=1 --test-timeout=1800000 --test-reporter=spec tests/pages/*.test.js
}

# By Redocly's rules, and without a word to its makers.
lint_document() {
    local modules
    modules=$(node_packages openapi)
    REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true CI=1 \
        "$modules/.bin/redocly" lint --config openapi/redocly.yaml openapi/openapi.json
}

# build_components CRATE…, and say where they are.
build_components() {
    local crate
    PATCHBAY_TEST_COMPONENTS=$(target_dir)/components
    export PATCHBAY_TEST_COMPONENTS
    for crate in "$@"; do
        providers/sdk/build "$crate" "$PATCHBAY_TEST_COMPONENTS/$crate.wasm"
    done
}

# Some tests kill the program itself; they do not build it while they run.
build_programs() {
    cargo build --locked --workspace --bins
    PATCHBAY_TEST_BINARY=$(target_dir)/debug/patchbay
    PATCHBAY_TEST_LAMBDA_BINARY=$(target_dir)/debug/patchbay-lambda
    export PATCHBAY_TEST_BINARY PATCHBAY_TEST_LAMBDA_BINARY
}

lane_faults() {
    # The figures of all scenarios, for the end.
    PATCHBAY_FAULTS_FIGURES=$(mktemp)
    export PATCHBAY_FAULTS_FIGURES
    trap 'rm -f "$PATCHBAY_FAULTS_FIGURES"' EXIT
    # Hosts' clocks jump by it. Without it those scenarios are skipped.
    compgen -G '/usr/lib/*/faketime/libfaketime.so.1' >/dev/null || install_packages libfaketime || true
    cargo build --locked -p patchbay-faults --features failpoints --bins
    PATCHBAY_TEST_FAILPOINTS_BINARY=$(target_dir)/debug/patchbay-failpoints
    export PATCHBAY_TEST_FAILPOINTS_BINARY
    # Times are among the full figures: there one scenario has the machine for itself, for hours.
    [[ ${PATCHBAY_FAULTS:-} != full ]] || export NEXTEST_TEST_THREADS=1 RUST_TEST_THREADS=1 NEXTEST_PROFILE=full
    local code=0
    tests_where 'package(patchbay-faults) & kind(test)' -p patchbay-faults --tests || code=$?
    printf '\n%-20s %-50s %14s %14s\n' scenario figure wanted got
    sort -s -k 1,2 "$PATCHBAY_FAULTS_FIGURES"
    return "$code"
}

# By convention, such a test lives in a module named `drift`.
lane_drift() {
    tests_where 'test(/\bdrift::/)' --workspace --lib --tests drift::
}

lane_demo() {
    local story posts post
    story=$(mktemp)
    cargo run --locked --release -- demo --exit --json | tee "$story"
    if grep -qaE 'PATCHBAY_FAILPOINTS|patchbay-poison|pub\.init_sent' "$(target_dir)/release/patchbay"; then
        echo "the release has failpoints" >&2
        return 1
    fi
    posts=$(grep -o '"post":"post_[0-9a-f]*"' "$story" | sort -u)
    [[ $(wc -l <<<"$posts") -ge 2 ]]
    for post in $posts; do
        grep -F "$post" "$story" | grep -q '"state":"published"' || { echo "not published: $post" >&2; return 1; }
    done
    rm -f "$story"
}

lane_examples() {
    need curl curl ca-certificates
    cargo build --locked --release
    (example_quickstart)
    (example_cron)
    if [[ $NAMED = yes ]]; then
        (example_systemd)
        (example_lambda)
    else
        echo "'tests/run examples' also checks the units of systemd, and packs the function for AWS Lambda, a second release build."
    fi
}

lane_deny() {
    if ! command -v cargo-deny >/dev/null; then
        if [[ $NAMED = no ]]; then
            echo "cargo-deny is not installed, so this lane is skipped. 'tests/run deny' installs it, which takes minutes."
            echo "The unit lane checks the same lists against Cargo.lock's crates (tests/architecture)."
            return "$SKIPPED"
        fi
        cargo install --locked cargo-deny
    fi
    # Advisories would need a clone of the advisory database.
    cargo deny --locked check bans licenses sources
}

# tests_where FILTER SELECTION…: runs tests by nextest's filter, or by cargo's selection where nextest is missing.
# With nextest, every lane builds the same set of crates with the same features, so that the lanes share one build.
tests_where() {
    local filter=$1
    shift
    if command -v cargo-nextest >/dev/null; then
        cargo nextest run --locked --workspace --no-fail-fast --show-progress none --status-level fail \
            --final-status-level slow -E "$filter"
    else
        cargo test --locked --no-fail-fast "$@"
    fi
}

target_dir() {
    cargo metadata --locked --no-deps --format-version 1 | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p'
}
