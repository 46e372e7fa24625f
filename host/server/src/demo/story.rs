//! The story itself, step by step, for every provider that is simulated here. It knows no platform: what to choose
//! comes from the manifest and from the live options, as it would on an upload page.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, bail, ensure};
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep};

use super::{MEDIA_HOST, Options, client::Client, report::Report, sample};
use crate::serve::Serving;

/// Longest time for one post. The simulator takes seconds.
const PATIENCE: Duration = Duration::from_mins(3);

/// Tells the story.
///
/// # Errors
/// A step is not as expected.
pub async fn tell(
    serving: &Serving,
    address: SocketAddr,
    folder: &Path,
    options: &Options,
    report: &Arc<Report>,
) -> anyhow::Result<()> {
    let client = Client::new(format!("http://{address}"))?;
    let platforms = client.get("/api/platforms").await?;
    for platform in platforms["data"].as_array().into_iter().flatten() {
        let id = platform["id"].as_str().context("a provider without an id")?;
        let Some(stand) = serving.simulator(id) else { continue };
        let title = platform["display_name"].as_str().unwrap_or(id);
        let account = connect(&client, stand, id, title, report)
            .await
            .context("connecting an account")?;
        let detail = client.get(&format!("/api/platforms/{id}")).await?;
        let shown = what_to_show(&detail["manifest"]);
        if shown.is_empty() {
            let text = format!("{title} takes neither videos nor texts, so nothing of it is shown");
            report.step("post", &text, json!({ "state": "skipped" }));
            continue;
        }
        for kind in &shown {
            let mut wanted = json!({ "kind": kind.name });
            wanted[kind.words] = format!("Hello from Patchbay, {}", kind.label).into();
            match kind.media {
                Media::None => {}
                Media::File => {
                    let video = upload(&client, folder, options.file_bytes, report)
                        .await
                        .context("uploading a video")?;
                    wanted["media"] = json!([{ "id": video["id"] }]);
                }
                Media::Url => {
                    wanted["media"] = json!([{ "url": format!("https://{MEDIA_HOST}/sample.mp4") }]);
                }
            }
            publish(&client, platform, &account, kind, wanted, report)
                .await
                .with_context(|| format!("publishing {}", kind.label))?;
        }
        read_back(&client, id, shown.len(), report)
            .await
            .context("reading back")?;
    }
    Ok(())
}

/// A kind of post that is shown.
struct Shown {
    name: &'static str,
    label: &'static str,
    /// Where its words go.
    words: &'static str,
    media: Media,
}

enum Media {
    None,
    File,
    Url,
}

/// A video by each road that the platform has; without a video, a text.
fn what_to_show(manifest: &Value) -> Vec<Shown> {
    let kinds = manifest["kinds"].as_array().map(Vec::as_slice).unwrap_or_default();
    let direct = |kind: &&Value| {
        kind["modes"]
            .as_array()
            .is_some_and(|modes| modes.contains(&json!("direct")))
    };
    let find = |name: &str| kinds.iter().filter(direct).find(|kind| kind["kind"] == name);
    let words = |kind: &Value| if kind["title"].is_null() { "text" } else { "title" };
    let mut shown = Vec::new();
    if let Some(video) = find("video") {
        let roads = [
            ("upload", "file in chunks", Media::File),
            ("pull_url", "by URL", Media::Url),
        ];
        let transfers = video["media"]["transfers"].as_array().cloned().unwrap_or_default();
        shown.extend(
            roads
                .into_iter()
                .filter(|(road, ..)| transfers.contains(&json!(road)))
                .map(|(_, label, media)| Shown {
                    name: "video",
                    label,
                    words: words(video),
                    media,
                }),
        );
    } else if let Some(text) = find("text") {
        shown.push(Shown {
            name: "text",
            label: "as text",
            words: words(text),
            media: Media::None,
        });
    }
    shown
}

async fn connect(
    client: &Client,
    stand: &dyn patchbay_simkit::stand::Stand,
    provider: &str,
    title: &str,
    report: &Report,
) -> anyhow::Result<String> {
    let (page, cookie) = client
        .visit(&format!("/api/platforms/{provider}/authorize"), None)
        .await?;
    report.step(
        "authorize",
        &format!("sent the browser to the consent page of {title}"),
        json!({ "state": "redirected", "provider": provider }),
    );
    let callback = stand.consent(&page).await.map_err(|error| anyhow::anyhow!(error))?;
    let (result, _) = client.visit(&callback, cookie.as_deref()).await?;
    ensure!(
        result.contains(&format!("success={provider}_connected")),
        "the callback led to {result}"
    );
    let status = client.get(&format!("/api/platforms/{provider}/status")).await?;
    ensure!(status["connected"] == true, "the account is not connected");
    let account = status["account_id"]
        .as_str()
        .or(status["accountId"].as_str())
        .context("no account id")?
        .to_owned();
    let name = status["displayName"].as_str().unwrap_or_default();
    let facts = json!({ "state": "connected", "account_id": account, "name": name });
    report.step("connect", &format!("connected {name} ({account})"), facts);
    Ok(account)
}

async fn upload(client: &Client, folder: &Path, bytes: u64, report: &Arc<Report>) -> anyhow::Result<Value> {
    let path = folder.join("demo.mp4");
    let file = path.clone();
    tokio::task::spawn_blocking(move || {
        let mut file = std::io::BufWriter::new(std::fs::File::create(file)?);
        sample::write_padded(
            &sample::SampleSpec::default(),
            sample::Filler::Seeded(1),
            bytes,
            &mut file,
        )
    })
    .await??;
    let shown = report.clone();
    let media = client
        .upload(&path, move |done| shown.progress("upload to Patchbay", done, bytes))
        .await?;
    std::fs::remove_file(&path)?;
    ensure!(
        media["size_bytes"] == bytes,
        "the host counted {} bytes of {bytes}",
        media["size_bytes"]
    );
    let text = format!(
        "uploaded a {} x {} video of {} ms, {bytes} bytes",
        media["width"], media["height"], media["duration_ms"]
    );
    report.step("upload", &text, json!({ "state": "stored", "media": media }));
    Ok(media)
}

async fn publish(
    client: &Client,
    platform: &Value,
    account: &str,
    kind: &Shown,
    mut wanted: Value,
    report: &Report,
) -> anyhow::Result<()> {
    let provider = platform["id"].as_str().unwrap_or_default();
    let label = kind.label;
    let live = client
        .get(&format!("/api/platforms/{provider}/accounts/{account}/publish-options"))
        .await?;
    wanted["account_id"] = account.into();
    // The story may be told again.
    wanted["allow_duplicate"] = true.into();
    wanted["options"] = choose(&live, kind.name).into();
    let post = client
        .post(&format!("/api/platforms/{provider}/posts"), &wanted)
        .await?;
    let id = post["id"].as_str().context("no post id")?.to_owned();
    let facts = json!({ "post": id, "label": label, "state": post["status"], "quotas": post["quotas"] });
    report.step("post", &format!("asked for a post {label} ({id})"), facts);
    let post = follow(client, provider, &id, label, report).await?;
    let remote = &post["remote_ids"];
    let calls = client
        .get(&format!("/api/platforms/{provider}/posts/{id}/journal"))
        .await?;
    let sent = calls["data"].as_array().map_or(0, Vec::len);
    ensure!(sent == 1, "{sent} irreversible calls were made for one post");
    if platform["capabilities"]["webhooks"] == true {
        let events = webhooks(client, &id).await?;
        report.step(
            "webhooks",
            &format!("received {} about it", events.join(", ")),
            json!({ "post": id, "state": "received", "events": events }),
        );
    }
    let metrics = client
        .get(&format!("/api/platforms/{provider}/posts/{id}/metrics"))
        .await?;
    let counts = &metrics["data"][0]["counts"];
    if !counts.is_null() {
        report.step(
            "metrics",
            &format!("its numbers: {counts}"),
            json!({ "post": id, "state": "read", "counts": counts }),
        );
    }
    let facts = json!({
        "post": id, "label": label, "remote_ref": post["remote_ref"], "remote_ids": remote, "url": post["url"],
        "state": post["status"],
    });
    report.step(
        "post",
        &format!(
            "post {label} is {} as {remote}",
            post["status"].as_str().unwrap_or_default()
        ),
        facts,
    );
    Ok(())
}

/// What a person would choose on the upload page: the first allowed value of every option that must be given.
fn choose(live: &Value, kind: &str) -> Map<String, Value> {
    let mut chosen = Map::new();
    let of = |value: &'_ Value| value.as_array().cloned().unwrap_or_default();
    for option in of(&live["options"]) {
        let applies = of(&option["posts"]).contains(&json!(kind)) && of(&option["modes"]).contains(&json!("direct"));
        if !applies || option["required"] != true {
            continue;
        }
        let name = option["name"].as_str().unwrap_or_default();
        let allowed = of(&live["live"]["fields"])
            .into_iter()
            .find(|field| field["name"] == name);
        let allowed = allowed
            .map(|field| of(&field["allowed"]))
            .filter(|values| !values.is_empty());
        let values = allowed.unwrap_or_else(|| of(&option["kind"]["values"]));
        let value = values.into_iter().next().unwrap_or(Value::Bool(false));
        chosen.insert(name.to_owned(), value);
    }
    chosen
}

async fn follow(client: &Client, provider: &str, id: &str, label: &str, report: &Report) -> anyhow::Result<Value> {
    let until = Instant::now() + PATIENCE;
    let mut seen = String::new();
    loop {
        let post = client.get(&format!("/api/platforms/{provider}/posts/{id}")).await?;
        if let (Some(done), Some(total)) = (
            post["progress"]["done_bytes"].as_u64(),
            post["progress"]["total_bytes"].as_u64(),
        ) {
            report.progress("upload to the platform", done, total);
        }
        let status = post["status"].as_str().unwrap_or_default().to_owned();
        let phase = post["phase"].as_str().unwrap_or_default();
        let state = if phase.is_empty() {
            status.clone()
        } else {
            format!("{status}: {phase}")
        };
        if state != seen && status != "published" {
            report.step(
                "post",
                &format!("{label}: {state}"),
                json!({ "post": id, "state": status, "phase": phase }),
            );
            seen = state;
        }
        match status.as_str() {
            // The public id comes a little later than the end of processing.
            "published" if post["remote_ids"].as_array().is_some_and(|ids| !ids.is_empty()) => return Ok(post),
            "failed" | "cancelled" | "unconfirmed" => bail!("the post is {status}: {}", post["failure"]),
            _ if Instant::now() > until => bail!("the post is still {status} after {} s", PATIENCE.as_secs()),
            _ => sleep(Duration::from_millis(150)).await,
        }
    }
}

/// Names of the platform's webhooks about a post.
async fn webhooks(client: &Client, post: &str) -> anyhow::Result<Vec<String>> {
    let until = Instant::now() + PATIENCE;
    loop {
        let events = client.get(&format!("/api/events?post_id={post}&limit=100")).await?;
        let events = events["data"].as_array().cloned().unwrap_or_default();
        let names: Vec<_> = events
            .iter()
            .filter_map(|event| event["name"].as_str())
            // The rest is what Patchbay itself says.
            .filter(|name| !matches!(*name, "post.published" | "post.failed"))
            .map(str::to_owned)
            .collect();
        if !names.is_empty() {
            return Ok(names);
        }
        ensure!(Instant::now() < until, "no webhook came");
        sleep(Duration::from_millis(150)).await;
    }
}

async fn read_back(client: &Client, provider: &str, posted: usize, report: &Report) -> anyhow::Result<()> {
    let posts = client
        .get(&format!("/api/platforms/{provider}/posts?status=published"))
        .await?;
    let count = posts["data"].as_array().map_or(0, Vec::len);
    ensure!(count >= posted, "{count} published posts are listed");
    let text = format!("GET /api/platforms/{provider}/posts lists {count} published posts");
    report.step("read", &text, json!({ "state": "listed", "published": count }));
    Ok(())
}
