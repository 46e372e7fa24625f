//! Files on their way.

use patchbay_core::{Body, ByteRange};
use sha2::{Digest, Sha256};

use super::trial::{self, Ran, is_media};
use crate::{
    Case, Sample,
    driver::Habits,
    law::{Breach, Found, Held, Law, hold, law},
    transport::{Fault, Offence},
};

pub(super) const LAWS: &[Law] = &[
    law!("media::whole", whole,
        why: "a gap or an overlap is a broken video, which the platform may only notice later",
        change: "src/publish.rs: the next part begins where the last one ended, and the last one ends at the size"),
    law!("media::in_bounds", in_bounds,
        why: "platforms refuse parts that are too small, too large, or beyond the file",
        change: "src/publish.rs: the plan of the parts"),
    law!("media::resumes", resumes,
        why: "a file of gigabytes that begins again at every fault never ends",
        change: "src/publish.rs: keep the offset in the checkpoint; ask the platform how far it is"),
    law!("media::not_held", not_held,
        why: "bytes of files go from disk to socket: a provider that holds them takes the host's memory",
        change: "src/publish.rs: send files as Body::Media"),
];

const NONE: Held = Held::NotApplicable("no sample has a file that the host sends");
/// The largest body of a provider's own making.
const MAX_OWN_BODY: usize = 64 * 1024;

/// Parts that the platform took, in order.
fn taken(ran: &Ran) -> Vec<ByteRange> {
    let success = |status: Option<u16>| status.is_some_and(|status| (200..300).contains(&status));
    ran.sent
        .iter()
        .filter(|sent| success(sent.status))
        .filter_map(|sent| match &sent.request.body {
            Body::Media { range, .. } => Some(*range),
            _ => None,
        })
        .collect()
}

fn digest(sample: &Sample) -> Option<String> {
    let media = sample.post.media.first()?;
    Some(hex::encode(Sha256::digest(sample.files.get(&media.id)?)))
}

async fn whole(case: &Case) -> Found {
    let mut tried = 0;
    for sample in trial::uploads(case) {
        let ran = trial::run(case, sample, Habits::default(), None).await?;
        let size = sample
            .post
            .media
            .first()
            .and_then(|media| media.info.size_bytes)
            .unwrap_or_default();
        let mut at = 0;
        for range in taken(&ran) {
            let (start, end) = (range.start, range.end);
            hold!(
                start == at,
                "{}: a part begins at {start}, the last one ended at {at}",
                sample.name
            );
            at = end;
        }
        hold!(
            at == size,
            "{}: the last part ends at {at}, the file at {size}",
            sample.name
        );
        arrived(&ran, sample, "a clean run")?;
        tried += 1;
    }
    Ok(if tried == 0 { NONE } else { Held::Tried(tried) })
}

fn arrived(ran: &Ran, sample: &Sample, what: &str) -> Result<(), Breach> {
    let files = ran.world.platform.files();
    let wanted = digest(sample).unwrap_or_default();
    hold!(
        files.contains(&wanted),
        "{}, {what}: what arrived is another file",
        sample.name
    );
    Ok(())
}

async fn in_bounds(case: &Case) -> Found {
    let mut tried = 0;
    for sample in trial::uploads(case) {
        let ran = trial::run(case, sample, Habits::default(), None).await?;
        for sent in ran.sent.iter().filter(|sent| is_media(sent)) {
            if let Some(Offence::Range(what)) = &sent.offence {
                return Err(Breach(format!("{}: {what}", sample.name)));
            }
            let status = sent.status.unwrap_or_default();
            let Body::Media { range, .. } = &sent.request.body else {
                continue;
            };
            hold!(
                status < 400,
                "{}: the platform answers {status} to bytes {}..{}",
                sample.name,
                range.start,
                range.end
            );
            tried += 1;
        }
    }
    Ok(if tried == 0 { NONE } else { Held::Tried(tried) })
}

async fn resumes(case: &Case) -> Found {
    let mut tried = 0;
    for sample in trial::uploads(case) {
        let clean = trial::run(case, sample, Habits::default(), None).await?;
        let parts: Vec<usize> = (0..clean.sent.len())
            .filter(|call| is_media(&clean.sent[*call]))
            .collect();
        // With one part there is no middle.
        for call in parts.iter().skip(1).copied() {
            for (fault, what) in [
                (Fault::AnswerLost, "loss of the answer"),
                (Fault::RequestLost, "loss of the request"),
                (Fault::KilledUnsent, "death before the sending"),
                (Fault::KilledSent, "death after the sending"),
            ] {
                let what = format!("{what} of part {call}");
                let ran = trial::run(
                    case,
                    sample,
                    Habits {
                        restarts: true,
                        ..Habits::default()
                    },
                    Some((call, fault)),
                )
                .await?;
                ran.is_honest(&format!("{}, {what}", sample.name))?;
                let again = ran.sent.iter().skip(call + 1).any(|sent| match &sent.request.body {
                    Body::Media { range, .. } => range.start == 0,
                    _ => false,
                });
                hold!(
                    !again,
                    "{}, {what}: the file is sent from its beginning again",
                    sample.name
                );
                if ran.effects > 0 {
                    arrived(&ran, sample, &what)?;
                }
                tried += 1;
            }
        }
    }
    Ok(if tried == 0 {
        Held::NotApplicable("no sample has a file of more than one part")
    } else {
        Held::Tried(tried)
    })
}

async fn not_held(case: &Case) -> Found {
    let mut tried = 0;
    for sample in trial::uploads(case) {
        let ran = trial::run(case, sample, Habits::default(), None).await?;
        for sent in &ran.sent {
            let own = match &sent.request.body {
                Body::Bytes { bytes, .. } => bytes.len(),
                Body::Json(json) => json.to_string().len(),
                Body::Empty | Body::Form(_) | Body::Media { .. } => 0,
            };
            let op = &sent.request.op;
            hold!(
                own <= MAX_OWN_BODY,
                "{}: {op} carries {own} bytes of the provider's own",
                sample.name
            );
        }
        hold!(
            ran.sent.iter().any(is_media),
            "{}: no call carries the file as Body::Media",
            sample.name
        );
        tried += 1;
    }
    Ok(if tried == 0 { NONE } else { Held::Tried(tried) })
}
