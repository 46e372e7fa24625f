//! The kit bites: a small well-behaved platform keeps every law, and for each law there is a way to break it that the
//! kit catches.
//!
//! The flaws have the names of the laws that catch them. [`toy`] knows them all; a law without one fails here. A flaw breaks
//! no other law, but those that `also.txt` names: a tooth that bites everywhere says nothing of the law that it is for.

mod platform;
mod toy;

use std::{collections::BTreeSet, process::ExitCode, sync::Arc};

use libtest_mimic::{Arguments, Failed, Trial};
use patchbay_conformance::{
    Case, File, Refusal, Sample, all,
    law::{Held, Law},
    run,
};
use patchbay_core::{MediaKind, PostKind};

const ALSO: &str = include_str!("also.txt");
/// How many others it names. May only shrink.
const MOST: usize = 31;

fn main() -> ExitCode {
    let trials = all().into_iter().flat_map(|law| {
        [
            Trial::test(format!("keeps::{}", law.name), move || keeps(law)),
            Trial::test(format!("bites::{}", law.name), move || bites(law)),
            Trial::test(format!("alone::{}", law.name), move || breaks_alone(law)),
        ]
    });
    let trials = trials.chain([
        Trial::test("every_flaw_is_a_law", every_flaw_is_a_law),
        Trial::test("others_become_fewer", others_become_fewer),
    ]);
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

fn keeps(law: Law) -> Result<(), Failed> {
    match run(law, &case("")).0 {
        Ok(Held::Tried(tried)) if tried > 0 => Ok(()),
        Ok(held) => Err(format!("the well-behaved provider does not try it: {held:?}").into()),
        Err(breach) => Err(law.complain(&breach).into()),
    }
}

fn bites(law: Law) -> Result<(), Failed> {
    if !toy::FLAWS.contains(&law.name) {
        return Err("this law has no tooth: teach tests/teeth/toy.rs to break it".into());
    }
    match run(law, &case(law.name)).0 {
        Err(breach) if breach.0.contains("the kit cannot begin") => Err(breach.0.into()),
        Err(_) => Ok(()),
        Ok(held) => Err(format!("a provider that breaks it is not caught: {held:?}").into()),
    }
}

/// The law's flaw breaks this law, and the others that are named.
fn breaks_alone(law: Law) -> Result<(), Failed> {
    let case = case(law.name);
    let others = all().into_iter().filter(|other| other.name != law.name);
    let broken: BTreeSet<&str> = others
        .filter(|other| run(*other, &case).0.is_err())
        .map(|other| other.name)
        .collect();
    let named: BTreeSet<&str> = also()
        .filter(|(flaw, _)| *flaw == law.name)
        .map(|(_, other)| other)
        .collect();
    let list = |names: Vec<&&str>| names.into_iter().copied().collect::<Vec<_>>().join(" ");
    let (more, fewer) = (
        list(broken.difference(&named).collect()),
        list(named.difference(&broken).collect()),
    );
    if !more.is_empty() {
        return Err(format!("the flaw breaks these laws too: {more}\nmake it narrower in tests/teeth/toy.rs").into());
    }
    if !fewer.is_empty() {
        return Err(format!("the flaw does not break {fewer} any more: take them out of tests/teeth/also.txt").into());
    }
    Ok(())
}

fn others_become_fewer() -> Result<(), Failed> {
    let laws: Vec<_> = all().into_iter().map(|law| law.name).collect();
    if let Some((flaw, other)) = also().find(|(flaw, other)| !laws.contains(flaw) || !laws.contains(other)) {
        return Err(format!("{flaw}: {other}: one of them is no law").into());
    }
    match also().count() {
        MOST => Ok(()),
        count => Err(format!(
            "tests/teeth/also.txt names {count} others. If there are fewer, write the number into MOST"
        )
        .into()),
    }
}

/// Pairs of a flaw and another law that it cannot but break.
fn also() -> impl Iterator<Item = (&'static str, &'static str)> {
    let lines = ALSO.lines().filter(|line| !line.starts_with('#'));
    let parts = lines.filter_map(|line| line.split_once(": "));
    parts.flat_map(|(flaw, others)| others.split_whitespace().map(move |other| (flaw, other)))
}

fn every_flaw_is_a_law() -> Result<(), Failed> {
    let laws: Vec<_> = all().into_iter().map(|law| law.name).collect();
    match toy::FLAWS.iter().find(|flaw| !laws.contains(flaw)) {
        Some(flaw) => Err(format!("{flaw} is no law").into()),
        None => Ok(()),
    }
}

fn case(flaw: &'static str) -> Case {
    Case {
        provider: Arc::new(move || toy::build(flaw)),
        simulator: Arc::new(move |config| Box::pin(platform::start(config, flaw))),
        form: [].into(),
        posts: vec![
            Sample::text("text", "Hello"),
            Sample::new("video", PostKind::Video).uploading(video()),
        ],
        webhooks: vec![br#"{"id":1,"event":"account.renamed","at":1790000000}"#.to_vec()],
        refusals: vec![Refusal {
            ops: vec!["token.exchange", "token.refresh", "me", "post.create", "post.get"],
            body: r#"{"error":{"code":"spam"}}"#,
        }],
    }
}

/// Two and a half parts.
fn video() -> File {
    File::of(MediaKind::Video, "video/mp4", &[7; 2_500][..])
}
