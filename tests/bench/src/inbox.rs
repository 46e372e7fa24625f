//! What a server has kept of the webhooks that it answered.

use std::collections::HashSet;

use anyhow::ensure;
use sqlx::{Connection, PgConnection, SqliteConnection};

use crate::{load::Answers, postgres::execute, webhooks::Webhooks};

/// Empties the tables that a webhook goes into, and writes out what the run before has left to write.
///
/// # Errors
/// The database refuses.
pub async fn empty_postgres(url: &str) -> anyhow::Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    execute(&mut connection, "TRUNCATE inbox, jobs, events, deliveries".to_owned()).await?;
    execute(&mut connection, "CHECKPOINT".to_owned()).await
}

/// Checks that every webhook with a 200 stands in the table of a PostgreSQL database, with its job, and nothing else.
///
/// # Errors
/// Something is lost, or there that was never sent.
pub async fn check_postgres(url: &str, webhooks: &Webhooks, answers: &Answers) -> anyhow::Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    let stored: Vec<Vec<u8>> = sqlx::query_scalar("SELECT digest FROM inbox")
        .fetch_all(&mut connection)
        .await?;
    let with_job: i64 = sqlx::query_scalar("SELECT count(*) FROM inbox JOIN jobs ON jobs.target = inbox.id")
        .fetch_one(&mut connection)
        .await?;
    check(&stored, with_job, webhooks, answers)
}

/// As [`check_postgres`], of an SQLite file that no host has open.
///
/// # Errors
/// As there.
pub async fn check_sqlite(url: &str, webhooks: &Webhooks, answers: &Answers) -> anyhow::Result<()> {
    let mut connection = SqliteConnection::connect(url).await?;
    let stored: Vec<Vec<u8>> = sqlx::query_scalar("SELECT digest FROM inbox")
        .fetch_all(&mut connection)
        .await?;
    let with_job: i64 = sqlx::query_scalar("SELECT count(*) FROM inbox JOIN jobs ON jobs.target = inbox.id")
        .fetch_one(&mut connection)
        .await?;
    check(&stored, with_job, webhooks, answers)
}

fn check(stored: &[Vec<u8>], with_job: i64, webhooks: &Webhooks, answers: &Answers) -> anyhow::Result<()> {
    let sent: HashSet<&[u8]> = (0..webhooks.count())
        .map(|number| &webhooks.digest(number)[..])
        .collect();
    let kept: HashSet<&[u8]> = stored.iter().map(Vec::as_slice).collect();
    let lost = answers
        .accepted
        .iter()
        .filter(|number| !kept.contains(&webhooks.digest(**number)[..]))
        .count();
    ensure!(
        lost == 0,
        "{lost} of {} webhooks with a 200 are not in the table",
        answers.accepted.len()
    );
    ensure!(kept.len() == stored.len(), "a webhook stands in the table twice");
    ensure!(kept.is_subset(&sent), "the table holds what was not sent");
    ensure!(
        usize::try_from(with_job) == Ok(stored.len()),
        "{with_job} of {} webhooks have a job",
        stored.len()
    );
    ensure!(
        stored.len() <= answers.accepted.len() + answers.refused,
        "the table holds more than was answered"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_differs_is_found() {
        let webhooks = Webhooks::make(3);
        let answers = Answers {
            accepted: vec![0, 1],
            refused: 1,
            ..Answers::default()
        };
        let row = |number: usize| webhooks.digest(number).to_vec();
        let check =
            |stored: &[Vec<u8>], jobs| check(stored, jobs, &webhooks, &answers).map_err(|error| error.to_string());
        assert!(check(&[row(1), row(0)], 2).is_ok());
        assert!(check(&[row(0)], 1).unwrap_err().contains("1 of 2"), "lost");
        assert!(check(&[row(0), row(1)], 1).unwrap_err().contains("have a job"));
        assert!(
            check(&[row(0), row(1), vec![0; 32]], 3)
                .unwrap_err()
                .contains("not sent")
        );
        assert!(check(&[row(0), row(1), row(1)], 3).unwrap_err().contains("twice"));
    }
}
