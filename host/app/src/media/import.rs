//! Media files that are fetched by their URL. A tenant names the host, so the wire's rules hold for the URL, for each one that
//! it leads on to, and for every address behind them; nothing secret is sent along.
//!
//! An import is an upload that a job writes, under the same right to write. What broke off goes on where it was if the server has
//! told a strong entity tag and still has that version, and else from the beginning.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use patchbay_core::{EventId, HttpResponse, JobId, MediaId, ProviderId, TenantId};
use serde_json::json;
use sha2::{Digest, Sha256};
use tracing::{info, warn};
use url::Url;

use super::{PATIENCE, check_label, check_open, full, nothing_yet, piece::Held, too_many};
use crate::{
    App, failpoint,
    files::STEP,
    model::{BegunUpload, ImportFailure, Job, JobKind, Media, NewEvent, NewImport, NewJob, NewUpload, Seen, Upload},
    problem::{Problem, ProblemKind},
    push::endpoints::checked_url,
    store::{JobEnd, MAX_LOST, StoreError},
    wire::{WireBody, WireError, WireRequest, WireStream},
    work,
};

/// Tries in a row of which none brought [`STEP`] bytes: about half an hour.
pub const MOST_TRIES: i32 = 8;
/// Hops from the URL to the file.
const MOST_REDIRECTS: usize = 5;
/// Time for an answer, and then for each 64 KiB of the file.
const STALL: Duration = Duration::from_secs(30);
/// Longest wait that a server may ask for.
const LONGEST_WAIT: Duration = Duration::from_hours(1);
/// An import that is not done by then is given up.
const LONGEST: TimeDelta = TimeDelta::hours(24);
/// How long a failure can be looked at.
const KEEP_FAILED: TimeDelta = TimeDelta::hours(24);

/// A file to be fetched.
#[derive(Debug, Clone)]
pub struct WantedImport {
    /// Its URL, as the tenant wrote it.
    pub url: String,
    /// A label for people.
    pub label: Option<String>,
}

/// Where an import stands.
#[derive(Debug)]
pub enum Import {
    /// Under way, or failed.
    Upload(Box<Upload>),
    /// The file is there.
    Media(Box<Media>),
}

/// Begins to fetch a file. `true`: it was asked for before, under this key.
///
/// # Errors
/// The URL is none that may be called, the key was used for something else, or the tenant has too many unfinished uploads.
pub async fn begin(
    app: &App,
    tenant: TenantId,
    wanted: WantedImport,
    request_key: String,
    correlation_id: &str,
) -> Result<(Import, bool), Problem> {
    check_open(app)?;
    check_label(wanted.label.as_deref())?;
    let source = checked_url(app, &wanted.url)?;
    let id = MediaId::from_uuid(app.env.ids.next());
    let request_hash = Sha256::digest(json!([source, wanted.label]).to_string()).into();
    let job = NewJob {
        id: JobId::from_uuid(app.env.ids.next()),
        tenant,
        kind: JobKind::Import,
        target: id.as_uuid(),
        concurrency_key: Some(id.to_string()),
        run_at: None,
        correlation_id: correlation_id.to_owned(),
    };
    let upload = NewUpload {
        id,
        tenant,
        label: wanted.label,
        metadata: None,
        // Room is kept as soon as its length is known, or as it comes.
        size: 0,
        digest: nothing_yet().digest,
        import: Some(NewImport {
            source: source.into(),
            request_key,
            request_hash,
            job,
        }),
        expires_at: app.env.now() + PATIENCE,
    };
    let quota = app.media_limits.quota_bytes;
    match app.store.begin_upload(&upload, quota, super::MOST_UNFINISHED).await? {
        BegunUpload::Begun(upload) => Ok((Import::Upload(upload), false)),
        BegunUpload::Known(id, hash) if hash == request_hash => match find(app, tenant, id).await {
            // What came of it has expired, and is gone in a moment.
            Err(problem) if problem.kind == ProblemKind::NotFound => Err(Problem::new(
                ProblemKind::Unavailable,
                "What was imported under this Idempotency-Key has just expired. Send the request again in a minute.",
            )
            .after(Duration::from_mins(1))),
            found => Ok((found?, true)),
        },
        BegunUpload::Known(..) => Err(Problem::new(
            ProblemKind::IdempotencyKeyReused,
            "Send the same body as before under this Idempotency-Key, or use a new key for a new import.",
        )),
        BegunUpload::Full(_) => Err(full()),
        BegunUpload::TooMany => Err(too_many()),
    }
}

/// Where an import stands. Whatever is a media file by now is done.
///
/// # Errors
/// There is none.
pub async fn find(app: &App, tenant: TenantId, id: MediaId) -> Result<Import, Problem> {
    if let Some(upload) = app.store.upload(tenant, id).await? {
        return match upload.source {
            Some(_) => Ok(Import::Upload(Box::new(upload))),
            None => Err(missing()),
        };
    }
    let media = app.store.media(tenant, id).await?.ok_or_else(missing)?;
    Ok(Import::Media(Box::new(media)))
}

/// Calls an import off, or forgets one that has failed.
///
/// # Errors
/// There is none, or it is done.
pub async fn cancel(app: &App, tenant: TenantId, id: MediaId) -> Result<(), Problem> {
    match find(app, tenant, id).await? {
        Import::Upload(_) => super::terminate(app, tenant, id).await,
        Import::Media(_) => Err(missing()),
    }
}

/// Fetches a file, or goes on with it.
///
/// # Errors
/// The store failed, or the claim is gone.
pub(crate) async fn run(app: &Arc<App>, job: &Job) -> Result<(), StoreError> {
    let id = MediaId::from_uuid(job.target);
    let found = app.store.upload(job.tenant, id).await?;
    let open = found.filter(|upload| upload.failure.is_none());
    let Some(source) = open.and_then(|upload| upload.source) else {
        // Called off, erased, or done by one that could not say so.
        return end(app, job, JobEnd::Done).await;
    };
    let mut held = match Held::take(app, job.tenant, id, PATIENCE).await {
        Ok(Ok(held)) => held,
        Ok(Err(_)) => return end(app, job, JobEnd::Done).await,
        Err(problem) => return end(app, job, of_lost_right(app, problem)?).await,
    };
    let before = held.upload.progress.offset;
    let outcome = if job.lost >= MAX_LOST {
        Err(Fault::Final(ImportFailure::Internal))
    } else if app.env.now() - held.upload.created_at > LONGEST {
        Err(Fault::Final(ImportFailure::TooLate))
    } else {
        fetch(app, &mut held, &source).await
    };
    let moved = held.upload.progress.offset >= before + STEP;
    let failure = match outcome {
        Ok(()) => {
            metrics::counter!("patchbay_imports_total", "outcome" => "imported").increment(1);
            info!(media.id = %id, "Imported a media file");
            return end(app, job, JobEnd::Done).await;
        }
        Err(Fault::Lost(problem)) => return end(app, job, of_lost_right(app, problem)?).await,
        Err(Fault::Final(failure)) => failure,
        Err(Fault::Passing(failure, _)) if job.attempts >= MOST_TRIES && !moved => failure,
        Err(Fault::Passing(failure, asked)) => {
            let wait = work::backoff(app, job.attempts, Duration::from_secs(2), Duration::from_mins(10));
            let asked = TimeDelta::from_std(asked.unwrap_or_default().min(LONGEST_WAIT)).unwrap_or(wait);
            let run_at = app.env.now() + wait.max(asked);
            held.release().await;
            let again = if moved {
                JobEnd::Next { run_at }
            } else {
                let code = failure.to_string();
                JobEnd::Again { run_at, code }
            };
            return end(app, job, again).await;
        }
    };
    match fail(app, &mut held, failure).await {
        Ok(()) => end(app, job, JobEnd::Done).await,
        Err(problem) => end(app, job, of_lost_right(app, problem)?).await,
    }
}

/// Why an import is not done.
enum Fault {
    /// The right to write is lost, or the store failed.
    Lost(Problem),
    /// Another try may help, not before so long.
    Passing(ImportFailure, Option<Duration>),
    /// No other try would help.
    Final(ImportFailure),
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        match problem.kind {
            ProblemKind::NotFound | ProblemKind::UploadLocked | ProblemKind::Unavailable => Self::Lost(problem),
            ProblemKind::TooLarge => Self::Final(ImportFailure::TooLarge),
            // Of a disk that is full there is a cause.
            ProblemKind::StorageFull if problem.cause.is_none() => Self::Final(ImportFailure::StorageFull),
            ProblemKind::StorageUnavailable => Self::Passing(ImportFailure::StorageUnavailable, None),
            ProblemKind::BadRequest => Self::Passing(ImportFailure::BrokeOff, None),
            _ => {
                warn!(error = %problem, cause = ?problem.cause, "The bytes of an import could not be kept just now");
                Self::Passing(ImportFailure::Internal, None)
            }
        }
    }
}

async fn end(app: &App, job: &Job, end: JobEnd) -> Result<(), StoreError> {
    app.store.end_job(job.lease(), &end).await?;
    Ok(())
}

/// What to do without the right to write.
fn of_lost_right(app: &App, problem: Problem) -> Result<JobEnd, StoreError> {
    match problem.kind {
        // Called off meanwhile.
        ProblemKind::NotFound => Ok(JobEnd::Done),
        // Of a worker that was killed: it runs out.
        ProblemKind::UploadLocked => Ok(JobEnd::Next {
            run_at: app.env.now() + super::piece::LEASE,
        }),
        _ => Err(StoreError::Unavailable(problem.into())),
    }
}

/// Gets what is missing, and makes a file of it.
async fn fetch(app: &App, held: &mut Held<'_>, source: &str) -> Result<(), Fault> {
    let got = match bring(app, held, source).await {
        Ok(()) => finish(app, held).await,
        Err(fault) => Err(fault),
    };
    if let Err(Fault::Passing(ImportFailure::Internal | ImportFailure::Changed, _)) = &got {
        // Whatever lies there is of no use.
        held.start_over().await?;
    }
    got
}

/// Brings all bytes.
async fn bring(app: &App, held: &mut Held<'_>, source: &str) -> Result<(), Fault> {
    let at = held.upload.progress.offset;
    if at > 0 && held.upload.seen.total == Some(at) {
        return Ok(());
    }
    let version = held.upload.seen.version.clone().filter(|_| at > 0);
    let answer = follow(app, held, source, version.as_deref().map(|version| (at, version))).await?;
    match (answer.status, version) {
        (200, _) => begin_whole(app, held, seen_in(&answer)).await?,
        (206, Some(version)) if is_rest(&answer, &held.upload, &version) => {}
        // The server has no more than is there.
        (416, Some(_)) if held.upload.seen.total.is_none() && all_of(&answer) == Some(at) => return Ok(()),
        (206 | 416, Some(_)) => return Err(Fault::Passing(ImportFailure::Changed, None)),
        (status @ (408 | 425 | 429 | 500..=599), _) => {
            return Err(Fault::Passing(ImportFailure::Status(status), retry_after(app, answer)));
        }
        (status, _) => return Err(Fault::Final(ImportFailure::Status(status))),
    }
    held.piece(answer.body, None).await?;
    let came = held.upload.progress.offset;
    match held.upload.seen.total {
        Some(total) if came < total => Err(Fault::Passing(ImportFailure::BrokeOff, None)),
        Some(_) => Ok(()),
        None if came == 0 => Err(Fault::Final(ImportFailure::Empty)),
        None => {
            let seen = Seen {
                total: Some(came),
                ..held.upload.seen.clone()
            };
            Ok(held.see(seen, came).await?)
        }
    }
}

/// Sends the request, and those that it leads on to.
async fn follow(app: &App, held: &mut Held<'_>, source: &str, rest: Option<(u64, &str)>) -> Result<WireStream, Fault> {
    let mut url = allowed(app, source)?;
    for _ in 0..=MOST_REDIRECTS {
        let mut headers = vec![("accept".to_owned(), "video/*, image/*, */*;q=0.1".to_owned().into())];
        if let Some((at, version)) = rest {
            headers.push(("range".to_owned(), format!("bytes={at}-").into()));
            headers.push(("if-range".to_owned(), version.to_owned().into()));
        }
        let request = WireRequest {
            provider: ProviderId::patchbay(),
            op: "import".to_owned(),
            correlation_id: held.upload.id.to_string(),
            method: "GET".to_owned(),
            url: url.as_str().into(),
            headers,
            body: WireBody::Empty,
            timeout: STALL,
            max_answer_bytes: 0,
        };
        let answer = held
            .beating(app.wire.open(request))
            .await?
            .map_err(|error| match error {
                // Of an address that must not be dialled nothing is told, not even whether somebody is there.
                WireError::Blocked(_) => Fault::Final(ImportFailure::Blocked),
                WireError::NotSent(_) => Fault::Passing(ImportFailure::Unreachable, None),
                WireError::Lost(_) => Fault::Passing(ImportFailure::NoAnswer, None),
            })?;
        let next = match answer.status {
            301 | 302 | 303 | 307 | 308 => answer.header("location"),
            _ => None,
        };
        let Some(next) = next else { return Ok(answer) };
        let next = url.join(next).map_err(|_| Fault::Final(ImportFailure::Blocked))?;
        url = allowed(app, next.as_str())?;
    }
    Err(Fault::Final(ImportFailure::TooManyRedirects))
}

fn allowed(app: &App, url: &str) -> Result<Url, Fault> {
    app.wire.user_url(url).map_err(|_| Fault::Final(ImportFailure::Blocked))
}

/// Gets ready for the whole file, whatever is there.
async fn begin_whole(app: &App, held: &mut Held<'_>, seen: Seen) -> Result<(), Fault> {
    if held.upload.progress != nothing_yet() {
        held.start_over().await?;
    }
    match seen.total {
        Some(0) => return Err(Fault::Final(ImportFailure::Empty)),
        Some(total) if total > app.media_limits.max_bytes => return Err(Fault::Final(ImportFailure::TooLarge)),
        _ => {}
    }
    let size = seen.total.unwrap_or_default();
    Ok(held.see(seen, size).await?)
}

/// What a server says of the whole.
fn seen_in(answer: &WireStream) -> Seen {
    let strong = answer
        .header("etag")
        .filter(|tag| tag.starts_with('"') && tag.len() <= 255);
    Seen {
        total: answer.header("content-length").and_then(|length| length.parse().ok()),
        version: strong.map(str::to_owned),
    }
}

/// Whether an answer is the rest that was asked for.
fn is_rest(answer: &WireStream, upload: &Upload, version: &str) -> bool {
    let range = answer
        .header("content-range")
        .and_then(|range| range.strip_prefix("bytes "));
    let (part, total) = range.and_then(|range| range.split_once('/')).unwrap_or_default();
    let first = part.split_once('-').and_then(|(first, _)| first.parse().ok());
    let total: Option<u64> = total.parse().ok();
    first == Some(upload.progress.offset)
        && (total.is_none() || upload.seen.total.is_none() || total == upload.seen.total)
        && answer.header("etag").is_none_or(|tag| tag == version)
}

/// The length of the whole, from an answer that has none of the bytes that were asked for.
fn all_of(answer: &WireStream) -> Option<u64> {
    answer.header("content-range")?.strip_prefix("bytes */")?.parse().ok()
}

fn retry_after(app: &App, answer: WireStream) -> Option<Duration> {
    let head = HttpResponse {
        status: answer.status,
        headers: answer.headers,
        body: bytes::Bytes::new(),
        received_at: app.env.now(),
    };
    head.retry_after()
}

/// Makes a media file of what is there.
async fn finish(app: &App, held: &mut Held<'_>) -> Result<(), Fault> {
    let Some(media) = held.made().await? else {
        return Err(Fault::Final(ImportFailure::NotMedia));
    };
    let event = event(
        app,
        &held.upload,
        "media.imported",
        json!({
            "media_id": media.id,
            "name": media.label,
            "mime": media.info.mime,
            "size_bytes": media.info.size_bytes,
            "sha256": hex::encode(media.sha256),
            "expires_at": media.expires_at,
        }),
    );
    held.keep(media, Some(&event)).await?;
    Ok(())
}

/// Ends an import that failed. Its bytes go first: as long as the row says that it is under way, a kill leads here again.
async fn fail(app: &App, held: &mut Held<'_>, failure: ImportFailure) -> Result<(), Problem> {
    held.start_over().await?;
    failpoint::hit("imp.deleted");
    let upload = &held.upload;
    let event = event(
        app,
        upload,
        "media.import_failed",
        json!({
            "media_id": upload.id,
            "name": upload.label,
            "code": failure.code(),
            "http_status": failure.status(),
            "advice": failure.advice(),
        }),
    );
    let until = app.env.now() + KEEP_FAILED;
    let written = app.store.fail_import(held.lease, failure, until, &event).await;
    held.held(written).await?;
    metrics::counter!("patchbay_imports_total", "outcome" => failure.code()).increment(1);
    info!(media.id = %upload.id, code = failure.code(), "An import has failed");
    Ok(())
}

fn event(app: &App, upload: &Upload, name: &str, payload: serde_json::Value) -> NewEvent {
    NewEvent {
        id: EventId::from_uuid(app.env.ids.next()),
        name: name.to_owned(),
        dedupe_key: format!("{}:{name}", upload.id),
        account: None,
        post: None,
        payload,
    }
}

fn missing() -> Problem {
    Problem::not_found("import")
}
