//! `[server]`: where the program listens, how it is reached, and how much it lets in.

use std::{net::SocketAddr, path::PathBuf, str::FromStr};

use url::{Host, Url};

use super::{
    key::{Key, Kind, Section},
    reader::Reader,
};

/// The listener and its limits.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// The main listener.
    pub listen: SocketAddr,
    /// How browsers and platforms reach it. No path, no query.
    pub public_url: Url,
    /// Certificate chain, PEM. Set together with `tls_key`.
    pub tls_cert: Option<PathBuf>,
    /// Key of the certificate, PEM.
    pub tls_key: Option<PathBuf>,
    /// A listener for metrics and health alone.
    pub metrics_listen: Option<SocketAddr>,
    /// The largest upload.
    pub max_upload_bytes: u64,
    /// Open connections in all.
    pub max_sockets: usize,
    /// Open connections of one address.
    pub max_sockets_per_ip: usize,
    /// Origins of pages that may upload.
    pub upload_origins: Vec<String>,
    /// What browsers may do without a key.
    pub first_party: FirstParty,
    /// Accounts that came by a connect session need no completion code.
    pub activate_at_once: bool,
}

/// What pages in a browser may do without a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstParty {
    /// Nothing.
    Off,
    /// Act as the default tenant. Only on a machine that serves nobody else.
    Open,
}

pub(super) const SECTION: Section = Section {
    name: "server",
    about: "Where Patchbay listens, how it is reached, and how much it lets in.",
    keys: &[
        Key::new("server.listen", Kind::Address, "The main listener.").or("127.0.0.1:8080"),
        Key::new(
            "server.public_url",
            Kind::Url,
            "How browsers and platforms reach Patchbay: scheme, host and port, nothing after them. Must be https, \
             except on loopback. OAuth callbacks and media links are built on it.",
        )
        .or_from("`http://` (with TLS: `https://`) and `server.listen`"),
        Key::new(
            "server.tls_cert",
            Kind::Path,
            "Certificate chain, PEM. Leave it out where a proxy speaks TLS. Set both or neither of `tls_cert` and \
             `tls_key`.",
        ),
        Key::new("server.tls_key", Kind::Path, "Private key of the certificate, PEM."),
        Key::new(
            "server.metrics_listen",
            Kind::Address,
            "A second listener, for `/metrics`, `/healthz` and `/readyz` alone; the only one of `patchbay worker`. \
             Without it, `/metrics` is on the main listener, and only if that is on loopback.",
        ),
        Key::new(
            "server.max_upload_bytes",
            Kind::Whole(1, 1 << 40),
            "The largest upload.",
        )
        .or("4294967296"),
        Key::new(
            "server.max_sockets",
            Kind::Whole(1, 1_000_000),
            "Open connections in all.",
        )
        .or("2000"),
        Key::new(
            "server.max_sockets_per_ip",
            Kind::Whole(1, 1_000_000),
            "Open connections of one IPv4 address or one IPv6 /64. Behind a proxy all clients have one address: set \
             this to `max_sockets` there.",
        )
        .or("64"),
        Key::new(
            "server.upload_origins",
            Kind::Texts,
            "Origins, such as `https://app.example.com`, whose pages may upload here by tus (CORS). They need a key, which \
             whoever opens such a page can read: give it the scope `publish` alone. Without any, only pages of this host can.",
        ),
        Key::new(
            "server.first_party",
            Kind::Choice(FirstParty::NAMES),
            "`open`: pages in a browser act as the default tenant, and as the operator, without a key. Only allowed if \
             both `listen` and `public_url` are on loopback.",
        )
        .or("off"),
        Key::new(
            "server.activate_at_once",
            Kind::Flag,
            "An account that was connected by a connect session is usable at once. Without it, a tenant completes the \
             session with the code that the browser brings back, so that an account that somebody was talked into \
             connecting stays unused. For products that use Patchbay for their own accounts.",
        )
        .or("false"),
    ],
};

impl ServerConfig {
    pub(super) fn read(r: &mut Reader) -> Self {
        let listen = r.parsed("server.listen");
        let tls_cert = r.optional("server.tls_cert");
        let public_url = r.optional("server.public_url").unwrap_or_else(|| {
            let url = derived_url(listen, tls_cert.is_some());
            r.derived("server.public_url", format!("{:?}", url.as_str()), "server.listen");
            url
        });
        Self {
            listen,
            public_url,
            tls_cert,
            tls_key: r.optional("server.tls_key"),
            metrics_listen: r.optional("server.metrics_listen"),
            max_upload_bytes: r.whole("server.max_upload_bytes"),
            max_sockets: r.whole("server.max_sockets"),
            max_sockets_per_ip: r.whole("server.max_sockets_per_ip"),
            upload_origins: r.texts("server.upload_origins"),
            first_party: r.parsed("server.first_party"),
            activate_at_once: r.flag("server.activate_at_once"),
        }
    }

    pub(super) fn validate(&self, r: &mut Reader) {
        if let Err(message) = check_public_url(&self.public_url) {
            r.problem("server.public_url", message);
        }
        match (&self.tls_cert, &self.tls_key) {
            (Some(_), None) => r.problem("server.tls_key", "must be set as well, since server.tls_cert is"),
            (None, Some(_)) => r.problem("server.tls_cert", "must be set as well, since server.tls_key is"),
            (Some(_), Some(_)) | (None, None) => {}
        }
        // Two listeners on port 0 get different ports.
        if self.metrics_listen == Some(self.listen) && self.listen.port() != 0 {
            r.problem(
                "server.metrics_listen",
                "must differ from server.listen: choose another port",
            );
        }
        let is_origin = |text: &String| {
            Url::parse(text)
                .is_ok_and(|url| check_browser_url(&url).is_ok() && url.origin().ascii_serialization() == *text)
        };
        if !self.upload_origins.iter().all(is_origin) {
            let message = "must be origins as browsers tell them: https:// (http:// on loopback), a host in lower case, and a \
                           port if it is not the usual one, such as \"https://app.example.com\"";
            r.problem("server.upload_origins", message);
        }
        if self.max_sockets_per_ip > self.max_sockets {
            r.problem("server.max_sockets_per_ip", "must not be above server.max_sockets");
        }
        let local = self.listen.ip().is_loopback() && is_loopback(&self.public_url);
        if self.first_party == FirstParty::Open && !local {
            r.problem(
                "server.first_party",
                "\"open\" lets everybody in who can reach this server, so server.listen and server.public_url must \
                 both be on loopback: change them, or set this to \"off\"",
            );
        }
    }
}

/// Whether only this machine can reach what a URL names.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        // RFC 6761, 6.3.
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// Refuses a URL that browsers must not be sent to: no https, or more than an address and a path.
pub(super) fn check_browser_url(url: &Url) -> Result<(), &'static str> {
    if !matches!(url.scheme(), "https" | "http") || url.host().is_none() {
        return Err("must start with https:// and a host");
    }
    if url.scheme() == "http" && !is_loopback(url) {
        return Err("must be https, except on loopback: set the https URL by which this server is reached");
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err("must have no user, password or fragment: remove them");
    }
    Ok(())
}

fn check_public_url(url: &Url) -> Result<(), &'static str> {
    check_browser_url(url)?;
    if url.path() != "/" || url.query().is_some() {
        return Err("must end after the host and port: remove the path and the query");
    }
    Ok(())
}

fn derived_url(listen: SocketAddr, tls: bool) -> Url {
    let scheme = if tls { "https" } else { "http" };
    // A URL has no place for the zone of an IPv6 address.
    let authority = SocketAddr::new(listen.ip(), listen.port());
    Url::parse(&format!("{scheme}://{authority}")).expect("address and port are the authority of a URL")
}

impl FirstParty {
    const NAMES: &[&str] = &["off", "open"];
}

impl FromStr for FirstParty {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "off" => Ok(Self::Off),
            "open" => Ok(Self::Open),
            _ => Err(()),
        }
    }
}
