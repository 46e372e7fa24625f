//! The hostile component (`tests/hostile`): what posts can ask of it, what each comes to, and the platform that it calls.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    http::{StatusCode, header},
    routing::{get, post},
};
use tokio::net::TcpListener;

/// Secret of its app, under which webhooks are signed too.
pub const SECRET: &str = "secret-of-the-hostile-app";

/// What a post's text makes the component do; what the post comes to, with the code of the problem; and how many irreversible
/// calls of it reach the platform.
pub const POSTED: &[(&str, &str, &str, usize)] = &[
    ("loop", "failed", "component_cpu_limit", 0),
    ("memory", "failed", "component_memory_limit", 0),
    ("memory_at_once", "failed", "component_memory_limit", 0),
    // Whichever of its own stack and the engine's ends first.
    ("recursion", "failed", "component_stack_limit component_trap", 0),
    ("panic", "failed", "component_trap", 0),
    ("giant", "failed", "component_value", 0),
    ("error", "failed", "component_code", 0),
    ("flood", "failed", "component_http_limit", 0),
    // A million lines, of which a hundred are logged; and then the lie, if there is time for it.
    ("log", "failed", "failed_contract component_cpu_limit", 0),
    ("it is out, believe me", "failed", "failed_contract", 0),
    ("commit_refused", "failed", "failed_contract", 1),
    ("commit_twice", "failed", "blocked", 1),
    ("commit_then_loop", "unconfirmed", "component_cpu_limit", 1),
    // A handle of nothing in this call, and a file of nothing in this post.
    ("forged", "failed", "blocked", 0),
    ("foreign_file", "failed", "blocked", 0),
    // An op that the manifest has not.
    ("undeclared_op", "failed", "blocked", 0),
    ("header_injection", "failed", "blocked", 0),
    ("host_header", "failed", "blocked", 0),
    ("redirect", "failed", "blocked", 0),
    // Hosts that no op has.
    ("https://example.com/", "failed", "blocked", 0),
    ("https://api.hostile.example.evil.example/", "failed", "blocked", 0),
    ("https://evil.example\\@api.hostile.example/", "failed", "blocked", 0),
    ("https://169.254.169.254/", "failed", "blocked", 0),
    ("https://[::1]/", "failed", "blocked", 0),
    ("http://api.hostile.example/", "failed", "blocked", 0),
];

/// The platform of the component. It counts what reaches it, and its redirect leads inside, where nobody is to come.
pub struct Platform {
    pub address: SocketAddr,
    pub looks: Arc<AtomicUsize>,
    pub commits: Arc<AtomicUsize>,
    pub inside: Arc<AtomicUsize>,
}

impl Platform {
    /// Starts it.
    ///
    /// # Errors
    /// There is no port for it.
    pub async fn start() -> std::io::Result<Self> {
        let [looks, commits, inside] = [(); 3].map(|()| Arc::new(AtomicUsize::new(0)));
        let counted = |count: &Arc<AtomicUsize>, status: StatusCode| {
            let count = count.clone();
            move || async move {
                count.fetch_add(1, Ordering::Relaxed);
                (status, "{}")
            }
        };
        let trap = TcpListener::bind(("127.0.0.1", 0)).await?;
        let to = format!("https://localhost:{}/", trap.local_addr()?.port());
        let router = Router::new()
            .route("/", get(counted(&looks, StatusCode::OK)))
            .route("/posts", post(counted(&commits, StatusCode::OK)))
            .route("/refused", post(counted(&commits, StatusCode::FORBIDDEN)))
            .route(
                "/redirect",
                get(|| async move { (StatusCode::FOUND, [(header::LOCATION, to)]) }),
            );
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        tokio::spawn(async move { axum::serve(listener, router).await });
        let came = inside.clone();
        tokio::spawn(async move {
            while trap.accept().await.is_ok() {
                came.fetch_add(1, Ordering::Relaxed);
            }
        });
        Ok(Self {
            address,
            looks,
            commits,
            inside,
        })
    }
}
