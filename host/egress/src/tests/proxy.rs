//! Proxy variables would lead every call past the resolver. The environment belongs to the whole process, so the test
//! starts itself again with the variables set.

use std::{env, process::Command};

use patchbay_app::wire::Wire;

use super::{
    Names, Server, get, ok, simulated,
    tls::{TlsServer, ca},
};

const VARIABLES: [&str; 6] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
];
const CHILD: &str = "PATCHBAY_TEST_PROXY_CHILD";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proxy_variables_are_ignored() {
    if env::var_os(CHILD).is_some() {
        return call_both_ways().await;
    }
    let canary = Server::canary().await;
    let name = module_path!().split_once("::").unwrap().1;
    let mut child = Command::new(env::current_exe().unwrap());
    child.args([
        &format!("{name}::proxy_variables_are_ignored"),
        "--exact",
        "--nocapture",
    ]);
    child.env(CHILD, "1").env_remove("NO_PROXY").env_remove("no_proxy");
    for variable in VARIABLES {
        child.env(variable, format!("http://{}", canary.address));
    }
    let output = tokio::task::spawn_blocking(move || child.output())
        .await
        .unwrap()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && stdout.contains("1 passed"), "{output:?}");
    assert_eq!(canary.connects(), 0);
}

async fn call_both_ways() {
    let server = TlsServer::start(&ca(), TlsServer::NAME).await;
    let egress = server.egress(Names::fixed(&["127.0.0.1"]));
    assert_eq!(egress.send(get(server.url())).await.unwrap().status, 200);
    let server = Server::answering(ok("")).await;
    assert_eq!(
        simulated(&server)
            .send(get("https://api.example.com/"))
            .await
            .unwrap()
            .status,
        200
    );
}
