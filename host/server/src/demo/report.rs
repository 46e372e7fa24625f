//! What the visitor sees: a line a step with a progress bar, or a JSON object a step.

use std::{
    io::{IsTerminal, Write},
    net::SocketAddr,
    path::Path,
    sync::Mutex,
};

use serde_json::{Value, json};

use crate::serve::Serving;

const BAR: usize = 30;

/// Prints the story.
pub struct Report {
    json: bool,
    terminal: bool,
    bar: Mutex<Bar>,
}

#[derive(Default)]
struct Bar {
    label: String,
    tenth: u64,
    open: bool,
}

impl Report {
    /// Text or JSON.
    #[must_use]
    pub fn new(json: bool) -> Self {
        Self {
            json,
            terminal: std::io::stdout().is_terminal(),
            bar: Mutex::default(),
        }
    }

    /// Where it is.
    pub fn opening(&self, address: SocketAddr, serving: &Serving, folder: &Path) {
        let simulated: Vec<String> = serving
            .host
            .app
            .registry
            .all()
            .iter()
            .map(|r| r.manifest().display_name.to_owned())
            .collect();
        if self.json {
            let controls: Value = serving
                .host
                .app
                .registry
                .all()
                .iter()
                .filter_map(|registered| {
                    let id = registered.id().as_str();
                    let stand = serving.simulator(id)?;
                    Some((id.to_owned(), format!("http://{}/_admin/", stand.admin()).into()))
                })
                .collect::<serde_json::Map<_, _>>()
                .into();
            let url = format!("http://{address}/");
            self.object(&json!({ "step": "serve", "state": "serving", "url": url, "controls": controls }));
            return;
        }
        println!("Patchbay is serving at  http://{address}/");
        println!(
            "Simulated platforms: {} (nothing reaches the real ones)",
            simulated.join(", ")
        );
        for registered in serving.host.app.registry.all() {
            if let Some(stand) = serving.simulator(registered.id().as_str()) {
                println!(
                    "Controls of {}: http://{}/_admin/",
                    registered.manifest().display_name,
                    stand.admin()
                );
            }
        }
        println!("Database, key and media: {}\n", folder.display());
    }

    /// A step that ended well.
    pub fn step(&self, step: &str, text: &str, facts: Value) {
        self.close_bar();
        if self.json {
            let mut object = json!({ "step": step });
            if let (Value::Object(object), Value::Object(facts)) = (&mut object, facts) {
                object.extend(facts);
            }
            self.object(&object);
        } else {
            println!("  ok  {text}");
        }
    }

    /// Bytes of a transfer. Printed at each tenth.
    pub fn progress(&self, label: &str, done: u64, total: u64) {
        let tenth = done.saturating_mul(10).checked_div(total).unwrap_or(10);
        let mut bar = self.bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if bar.label == label && bar.tenth == tenth {
            return;
        }
        *bar = Bar {
            label: label.to_owned(),
            tenth,
            open: true,
        };
        if self.json {
            self.object(&json!({ "step": label, "state": "running", "done_bytes": done, "total_bytes": total }));
        } else if self.terminal {
            let full = usize::try_from(tenth).unwrap_or(10) * BAR / 10;
            print!(
                "\r      {label:<24} [{}{}] {:>3} %",
                "#".repeat(full),
                ".".repeat(BAR - full.min(BAR)),
                tenth * 10
            );
            let _ = std::io::stdout().flush();
        } else {
            println!("      {label:<24} {:>3} %", tenth * 10);
        }
    }

    /// The story ended badly.
    pub fn failed(&self, error: &anyhow::Error) {
        self.close_bar();
        if self.json {
            self.object(&json!({ "step": "story", "state": "failed", "error": format!("{error:#}") }));
        } else {
            println!("  !!  {error:#}");
        }
    }

    /// What the visitor can do now.
    pub fn inviting(&self, address: SocketAddr) {
        if !self.json {
            println!("\nNow it is yours: open the dashboard,  http://{address}/  in a browser. Ctrl-C ends it.");
        }
    }

    fn close_bar(&self) {
        let mut bar = self.bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if bar.open && self.terminal && !self.json {
            println!();
        }
        *bar = Bar::default();
    }

    fn object(&self, object: &Value) {
        println!("{object}");
    }
}
