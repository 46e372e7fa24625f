//! The HTTP client with which a simulated platform calls out: webhooks to the product, pulls from media hosts.

use std::time::Duration;

/// A client without redirects and proxies. `silence` ends a call whose peer sends nothing for that long;
/// there is no limit on the whole call, because a 4 GiB pull may be slow and still be right.
///
/// # Errors
/// The HTTP library refuses to build, which means that this machine has no usable TLS set-up.
pub fn client(silence: Duration) -> Result<reqwest::Client, reqwest::Error> {
    builder(silence).build()
}

/// The same for plain HTTP on loopback alone. It reads none of the machine's certificates, which takes longer than all
/// the rest of a short trial.
///
/// # Errors
/// As [`client`].
pub fn loopback_client(silence: Duration) -> Result<reqwest::Client, reqwest::Error> {
    builder(silence).tls_certs_only([]).build()
}

#[expect(
    clippy::disallowed_methods,
    reason = "a simulator plays the platform: its calls come from outside and must not pass the product's egress"
)]
fn builder(silence: Duration) -> reqwest::ClientBuilder {
    // A second install is refused and harmless: the first one holds.
    rustls::crypto::ring::default_provider().install_default().ok();
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .connect_timeout(Duration::from_secs(10))
        .read_timeout(silence)
        .user_agent("platform-simulator")
}
