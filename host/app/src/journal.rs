//! The token journal: a file to which a renewed token is appended, and synced, before it is stored. A rotating
//! refresh token dies when it is used, so an answer that the database could not take must survive a crash. Records
//! hold envelopes, never tokens.

use std::{
    fs::{File, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, TimeDelta, Utc};
use patchbay_core::{AccountId, TenantId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::model::{SealedTokens, TokenUpdate};

/// One renewed token.
#[derive(Debug, Clone)]
pub struct JournalRecord {
    /// Whose.
    pub tenant: TenantId,
    /// Account.
    pub account: AccountId,
    /// When it came.
    pub at: DateTime<Utc>,
    /// The tokens, sealed for the version after the one that was renewed.
    pub update: TokenUpdate,
}

#[derive(Serialize, Deserialize)]
struct Line {
    tenant: TenantId,
    account: AccountId,
    at: DateTime<Utc>,
    version: i64,
    envelope: String,
    access_expires_at: Option<DateTime<Utc>>,
    refresh_expires_at: Option<DateTime<Utc>>,
    refresh_due_at: Option<DateTime<Utc>>,
}

/// How long an append waits for another process that writes. That one may be stopped; then the record is written beside
/// it, since a token that is in no file is worse off.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(2);

/// An append-only file of renewed tokens. Several processes may share it: an API and its workers on one machine. All of
/// its work happens on blocking threads.
#[derive(Clone)]
pub struct TokenJournal {
    path: PathBuf,
    // Those of one process wait for each other in here, without a deadline.
    lock: Arc<Mutex<()>>,
}

impl TokenJournal {
    /// A journal at `path`. The file is made when the first record comes.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            lock: Arc::default(),
        }
    }

    /// Appends a record and waits until it is on disk.
    ///
    /// # Errors
    /// The file cannot be written or synced.
    pub async fn append(&self, record: &JournalRecord) -> io::Result<()> {
        let line = encode(record)?;
        let this = self.clone();
        tokio::task::spawn_blocking(move || {
            let _first = this.lock.lock().unwrap_or_else(PoisonError::into_inner);
            let _guard = this.lock_within(PATIENCE);
            let mut file = private_append(&this.path)?;
            file.write_all(line.as_bytes())?;
            file.sync_data()
        })
        .await
        .map_err(io::Error::other)?
    }

    /// Reads all whole records, oldest first, and drops those older than `keep` from the file, unless another process is
    /// writing. A torn line is skipped: its append never returned, or has not yet.
    ///
    /// # Errors
    /// The file cannot be read or rewritten.
    pub async fn replay(&self, now: DateTime<Utc>, keep: TimeDelta) -> io::Result<Vec<JournalRecord>> {
        let this = self.clone();
        tokio::task::spawn_blocking(move || this.replay_blocking(now - keep))
            .await
            .map_err(io::Error::other)?
    }

    fn replay_blocking(&self, oldest: DateTime<Utc>) -> io::Result<Vec<JournalRecord>> {
        let _first = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let guard = self.lock_within(Duration::ZERO);
        let bytes = match std::fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut dropped = false;
        let mut records = Vec::new();
        for line in String::from_utf8_lossy(&bytes).lines().filter(|line| !line.is_empty()) {
            match decode(line) {
                Some(record) if record.at >= oldest => records.push(record),
                Some(_) | None => dropped = true,
            }
        }
        if dropped && guard.is_some() {
            let fresh = self.path.with_extension("new");
            match std::fs::remove_file(&fresh) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = private_append(&fresh)?;
            for record in &records {
                file.write_all(encode(record)?.as_bytes())?;
            }
            file.sync_data()?;
            std::fs::rename(&fresh, &self.path)?;
        }
        Ok(records)
    }
}

impl TokenJournal {
    /// The right to write among processes. `None`: somebody else has it, or the file system knows no
    /// locks. It is of a file beside the journal, which a rewrite replaces.
    fn lock_within(&self, patience: Duration) -> Option<File> {
        let file = private_append(&self.path.with_extension("lock")).ok()?;
        let until = Instant::now() + patience;
        loop {
            match file.try_lock() {
                Ok(()) => return Some(file),
                Err(TryLockError::WouldBlock) if Instant::now() < until => thread::sleep(PAUSE),
                Err(_) => return None,
            }
        }
    }
}

fn private_append(path: &Path) -> io::Result<std::fs::File> {
    let mut options = std::fs::OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// `\n<first 8 bytes of SHA-256 in hex> <json>\n`. The leading line break parts it from a torn line before.
fn encode(record: &JournalRecord) -> io::Result<String> {
    let JournalRecord {
        tenant,
        account,
        at,
        update,
    } = record;
    let json = serde_json::to_string(&Line {
        tenant: *tenant,
        account: *account,
        at: *at,
        version: update.tokens.version,
        envelope: STANDARD.encode(&update.tokens.envelope),
        access_expires_at: update.access_expires_at,
        refresh_expires_at: update.refresh_expires_at,
        refresh_due_at: update.refresh_due_at,
    })?;
    Ok(format!("\n{} {json}\n", checksum(&json)))
}

fn decode(line: &str) -> Option<JournalRecord> {
    let (sum, json) = line.split_once(' ')?;
    if sum != checksum(json) {
        return None;
    }
    let line: Line = serde_json::from_str(json).ok()?;
    Some(JournalRecord {
        tenant: line.tenant,
        account: line.account,
        at: line.at,
        update: TokenUpdate {
            tokens: SealedTokens {
                envelope: STANDARD.decode(line.envelope).ok()?,
                version: line.version,
            },
            access_expires_at: line.access_expires_at,
            refresh_expires_at: line.refresh_expires_at,
            refresh_due_at: line.refresh_due_at,
        },
    })
}

fn checksum(json: &str) -> String {
    hex::encode(&Sha256::digest(json.as_bytes())[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(version: i64, at: DateTime<Utc>) -> JournalRecord {
        JournalRecord {
            tenant: TenantId::DEFAULT,
            account: AccountId::from_uuid(uuid::Uuid::from_u128(7)),
            at,
            update: TokenUpdate {
                tokens: SealedTokens {
                    envelope: vec![1, 2, 3],
                    version,
                },
                access_expires_at: Some(at),
                refresh_expires_at: None,
                refresh_due_at: Some(at),
            },
        }
    }

    async fn versions(journal: &TokenJournal, now: DateTime<Utc>) -> Vec<i64> {
        let records = journal.replay(now, TimeDelta::hours(48)).await.unwrap();
        records.iter().map(|record| record.update.tokens.version).collect()
    }

    #[tokio::test]
    async fn records_come_back_and_old_ones_go() {
        let dir = tempfile::tempdir().unwrap();
        let journal = TokenJournal::at(&dir.path().join("journal"));
        let now = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
        assert!(versions(&journal, now).await.is_empty());
        journal.append(&record(1, now - TimeDelta::hours(50))).await.unwrap();
        journal.append(&record(2, now)).await.unwrap();
        assert_eq!(versions(&journal, now).await, [2]);
        journal.append(&record(3, now)).await.unwrap();
        assert_eq!(versions(&journal, now).await, [2, 3]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn processes_that_share_the_file_lose_no_record() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let now = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
        let writer = TokenJournal::at(&path);
        let writing = tokio::spawn(async move {
            for version in 1..=200 {
                // Something old each time, for the other one to drop.
                writer
                    .append(&record(-version, now - TimeDelta::hours(50)))
                    .await
                    .unwrap();
                writer.append(&record(version, now)).await.unwrap();
            }
        });
        let other = TokenJournal::at(&path);
        while !writing.is_finished() {
            versions(&other, now).await;
        }
        writing.await.unwrap();
        assert_eq!(versions(&other, now).await, (1..=200).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_process_that_stands_still_keeps_nobody_from_writing() {
        let dir = tempfile::tempdir().unwrap();
        let journal = TokenJournal::at(&dir.path().join("journal"));
        let now = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
        let _stopped = journal.lock_within(Duration::ZERO).unwrap();
        journal.append(&record(1, now - TimeDelta::hours(50))).await.unwrap();
        journal.append(&record(2, now)).await.unwrap();
        assert_eq!(versions(&journal, now).await, [2]);
    }

    #[tokio::test]
    async fn a_torn_line_costs_no_other_record() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let journal = TokenJournal::at(&path);
        let now = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
        journal.append(&record(1, now)).await.unwrap();
        journal.append(&record(2, now)).await.unwrap();
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 9]).unwrap();
        journal.append(&record(3, now)).await.unwrap();
        assert_eq!(versions(&journal, now).await, [1, 3]);
    }
}
