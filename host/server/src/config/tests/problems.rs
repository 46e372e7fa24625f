//! What is said about a wrong configuration.

use super::*;

#[test]
fn all_problems_come_at_once_each_with_its_source() {
    let setup = Setup::file(
        "
[server]
listen = 'localhost:8080'
max_sockets = 0
lisen = '127.0.0.1:1'
[workers]
enabled = 'yes'
[nonsense]
a = 1
",
    )
    .var("PATCHBAY__LOG__FORMAT", "xml")
    .var("PATCHBAY__STORAGE__DIRR", "x")
    .var("ACME_REDIRECT_URI", "http://example.com/back")
    .var("WORKER_SECRET", "short");
    let problems = setup.problems();
    let file = setup.source();
    let found: Vec<_> = problems
        .iter()
        .map(|problem| (problem.key.as_deref().unwrap_or_default(), problem.source.as_str()))
        .collect();
    for expected in [
        ("server.listen", file.as_str()),
        ("server.max_sockets", &file),
        ("server.lisen", &file),
        ("workers.enabled", &file),
        ("nonsense", &file),
        ("log.format", "PATCHBAY__LOG__FORMAT"),
        ("", "PATCHBAY__STORAGE__DIRR"),
        ("providers.acme.redirect_uri", "ACME_REDIRECT_URI"),
        ("workers.secrets", "WORKER_SECRET"),
    ] {
        assert!(found.contains(&expected), "{expected:?} is missing in {found:?}");
    }
    assert_eq!(problems.len(), 9, "{problems:?}");
    let text = setup.load().unwrap_err().to_string();
    assert!(text.starts_with("the configuration has 9 problems:\n  "));
    assert!(
        text.contains("\"localhost:8080\" is not an IP address and a port, such as"),
        "{text}"
    );
    assert!(
        text.contains("\"xml\" is not \"pretty\" or \"json\" or \"auto\""),
        "{text}"
    );
}

#[test]
fn an_unknown_key_is_named_with_its_neighbours() {
    let problem = Setup::file("[providers.acme]\nclient_idd = 'x'").refused("providers.acme.client_idd");
    assert!(
        problem
            .message
            .contains("Keys of [providers.acme]: enabled, environment, client_id,"),
        "{problem}"
    );
    let problem = Setup::file("[providers.acne]\nclient_id = 'x'").refused("providers.acne");
    assert!(problem.message.contains("Providers: acme, my-place"), "{problem}");
    let problem = Setup::file("sever = 1").refused("sever");
    assert!(problem.message.contains("Sections: server, database,"), "{problem}");
}

#[test]
fn a_variable_that_names_nothing_is_refused() {
    for (name, hint) in [
        ("PATCHBAY__SERVER__LISTNE", "Keys of [server]: listen,"),
        ("PATCHBAY__SERVER__LISTEN__X", "Keys of [server]: listen,"),
        ("PATCHBAY__SERVER", "is a section"),
        ("PATCHBAY__", "Sections: "),
        ("PATCHBAY__server__listen", "capital letters"),
        ("PATCHBAY__PROVIDERS__ACNE__CLIENT_ID", "Providers: acme, my-place"),
        ("PATCHBAY__PROVIDERS__ACME__SETTINGS", "is a table"),
        ("PATCHBAY__PROVIDERS__ACME__SETTINGS__", "is empty"),
    ] {
        let problems = Setup::file("").var(name, "1").problems();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(problems[0].source, name);
        assert!(problems[0].message.contains(hint), "{}", problems[0]);
    }
    assert!(
        Setup::file("").var("PATCHBAY_SERVICE_HOST", "10.0.0.1").load().is_ok(),
        "other names are not ours"
    );
}

#[test]
fn a_key_in_the_place_of_a_section_is_refused() {
    let problem = Setup::file("server = 3").refused("server");
    assert!(problem.message.contains("write [server]"), "{problem}");
}

#[test]
fn a_syntax_error_is_told_by_its_place_alone() {
    let setup = Setup::file("[server]\nlisten = '127.0.0.1:1'\n[workers]\nsecrets = ['canary-canary]\n");
    let problems = setup.problems();
    assert_eq!((problems.len(), &problems[0].source), (1, &setup.source()));
    assert!(problems[0].message.contains("line 4, column "), "{}", problems[0]);
    assert!(!problems[0].message.contains("canary"), "{}", problems[0]);
}

#[test]
fn a_wrong_value_is_not_judged_twice() {
    // The derived URL would be refused for this address, but nobody asked for it.
    Setup::file("[server]\nlisten = '0.0.0.0:80'\npublic_url = 5").refused("server.public_url");
}
