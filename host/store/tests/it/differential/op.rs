//! An operation. Numbers choose among what the run has made so far, so that every sequence makes sense.

use patchbay_app::model::{JobKind, PostStatus};
use proptest::{collection::vec, option, prelude::*, sample::select};

/// Chooses one of what there is.
pub type Pick = u8;

#[derive(Debug, Clone)]
pub enum Op {
    Advance(u16),
    Connect {
        tenant: Pick,
        remote: u8,
        owner: u8,
        pending: bool,
        late: bool,
    },
    LeaseRefresh(Pick, i64, u8),
    Release(Pick, u8),
    Swap(Pick, i64, Option<u16>),
    RequireReauth(Pick, i64),
    Disconnect(Pick, bool),
    Erase(Pick),
    Enqueue {
        account: Pick,
        key: u8,
        fingerprint: u8,
        delay: Option<u16>,
        job_key: Option<u8>,
    },
    Claim(Vec<JobKind>),
    Renew(Pick),
    End(Pick, End),
    Return(Pick),
    Wake(JobKind, Pick),
    Revive(u8),
    Step {
        lease: Pick,
        own: bool,
        status: PostStatus,
        step: i64,
        remote_ref: Option<u8>,
        remote_ids: Option<Vec<u8>>,
        delay: Option<u16>,
        frees: bool,
    },
    Mark(Pick, i64, u8),
    Receipt(Pick, i64, u8),
    Clear(Pick, i64, u8),
    Edit(Pick, bool, u8, Option<u16>),
    Cancel(Pick),
    Inbox(u8, u8),
    Apply(Pick, Vec<News>),
    Bury(Pick),
    Slot(Pick, u8, bool, u8),
    Pause(Pick, u8, u8),
    Settle(Pick, u16),
    Flow(u8),
    TakeFlow(u8),
    Session(u8),
    Media(Pick),
    Keep(Pick, u16),
    Upload(Pick, u8),
    LeaseUpload(Pick),
    NoteUpload(Pick, u16),
    Avatar(Pick, u8),
    Import(Pick, u8),
    NoteSource(Pick, u8),
    FailImport(Pick, u16),
    ReleaseUpload(Pick),
    FinishUpload(Pick),
    DeleteUpload(Pick),
    DataKey(Pick, u8),
    ApiKey(Pick, u8),
    TouchKey(Pick),
    RevokeKey(Pick, Pick),
    /// A tenant's endpoint.
    Endpoint(Pick),
    ChangeEndpoint(Pick, Option<bool>, bool),
    Rotate(Pick, i64),
    DeleteEndpoint(Pick),
    Push(Pick),
    Measure(Pick, u8),
    EndDelivery {
        lease: Pick,
        own: bool,
        next: u8,
        attempt: bool,
        disable: bool,
    },
    Redeliver(Pick, Pick),
    RedeliverMany(Pick, u8),
    Purge(u8),
    List(Pick, Pick, Option<PostStatus>, u8),
}

#[derive(Debug, Clone, Copy)]
pub enum End {
    Done,
    Next(u16),
    Again(u16),
    Dead,
}

/// An event of a webhook.
#[derive(Debug, Clone)]
pub struct News {
    pub kind: u8,
    pub remote: Option<u8>,
    pub remote_ref: Option<u8>,
    pub remote_ids: Vec<u8>,
    pub key: u8,
    /// Seconds before now.
    pub age: u16,
}

pub fn any() -> impl Strategy<Value = Op> {
    let pick = || any_of(0..8u8);
    let version = || select(vec![-1i64, 0, 0, 0, 1]);
    let step = || select(vec![0i64, 0, 0, 1]);
    let secs = || select(vec![0u16, 1, 5, 30, 60, 3600]);
    let small = || 0..3u8;
    let kind = || select(JobKind::ALL.to_vec());
    let status = || select(PostStatus::ALL.to_vec());
    // Most steps go on, so that there is something to go on with.
    let next = || prop_oneof![2 => Just(PostStatus::Publishing), 1 => select(PostStatus::ALL.to_vec())];
    let ids = || vec(0..4u8, 0..3);
    let end = prop_oneof![
        Just(End::Done),
        secs().prop_map(End::Next),
        secs().prop_map(End::Again),
        Just(End::Dead)
    ];
    let news = (0..5u8, option::of(small()), option::of(small()), ids(), 0..6u8, secs()).prop_map(
        |(kind, remote, remote_ref, remote_ids, key, age)| News {
            kind,
            remote,
            remote_ref,
            remote_ids,
            key,
            age,
        },
    );
    let accounts = prop_oneof![
        4 => (0..2u8, small(), small(), proptest::bool::weighted(0.2), proptest::bool::weighted(0.1)).prop_map(
            |(tenant, remote, owner, pending, late)| Op::Connect { tenant, remote, owner, pending, late }
        ),
        2 => (pick(), version(), small()).prop_map(|(a, v, h)| Op::LeaseRefresh(a, v, h)),
        1 => (pick(), small()).prop_map(|(a, h)| Op::Release(a, h)),
        3 => (pick(), version(), option::weighted(0.8, secs())).prop_map(|(a, v, d)| Op::Swap(a, v, d)),
        2 => (pick(), version()).prop_map(|(a, v)| Op::RequireReauth(a, v)),
        2 => (pick(), proptest::bool::ANY).prop_map(|(a, revoke)| Op::Disconnect(a, revoke)),
        1 => pick().prop_map(Op::Erase),
    ];
    let posts = prop_oneof![
        5 => (pick(), 0..5u8, 0..2u8, option::weighted(0.3, secs()), option::weighted(0.7, 0..2u8)).prop_map(
            |(account, key, fingerprint, delay, job_key)| Op::Enqueue { account, key, fingerprint, delay, job_key }
        ),
        6 => (
            pick(), proptest::bool::weighted(0.9), next(), step(), option::of(small()), option::of(ids()),
            option::weighted(0.8, secs()), proptest::bool::ANY
        ).prop_map(|(lease, own, status, step, remote_ref, remote_ids, delay, frees)| Op::Step {
            lease, own, status, step, remote_ref, remote_ids, delay, frees
        }),
        3 => (pick(), step(), small()).prop_map(|(p, s, o)| Op::Mark(p, s, o)),
        1 => (pick(), step(), small()).prop_map(|(p, s, o)| Op::Receipt(p, s, o)),
        1 => (pick(), step(), small()).prop_map(|(p, s, o)| Op::Clear(p, s, o)),
        1 => (pick(), proptest::bool::weighted(0.8), small(), option::of(secs()))
            .prop_map(|(p, seen, content, d)| Op::Edit(p, seen, content, d)),
        2 => pick().prop_map(Op::Cancel),
    ];
    let jobs = prop_oneof![
        2 => vec(kind(), 0..5).prop_map(Op::Claim),
        8 => Just(Op::Claim(JobKind::ALL.to_vec())),
        1 => pick().prop_map(Op::Renew),
        3 => (pick(), end).prop_map(|(lease, end)| Op::End(lease, end)),
        1 => pick().prop_map(Op::Return),
        2 => (kind(), pick()).prop_map(|(kind, target)| Op::Wake(kind, target)),
        1 => (1..4u8).prop_map(Op::Revive),
    ];
    let events = prop_oneof![
        3 => (0..2u8, 0..8u8).prop_map(|(app, digest)| Op::Inbox(app, digest)),
        4 => (pick(), vec(news, 0..4)).prop_map(|(lease, news)| Op::Apply(lease, news)),
        1 => pick().prop_map(Op::Bury),
    ];
    let rest = prop_oneof![
        3 => (pick(), small(), proptest::bool::ANY, 0..4u8).prop_map(|(p, b, own, limit)| Op::Slot(p, b, own, limit)),
        1 => (pick(), small(), 0..90u8).prop_map(|(p, b, secs)| Op::Pause(p, b, secs)),
        1 => (pick(), secs()).prop_map(|(slot, after)| Op::Settle(slot, after)),
        1 => small().prop_map(Op::Flow),
        1 => small().prop_map(Op::TakeFlow),
        1 => small().prop_map(Op::Session),
        1 => pick().prop_map(Op::Media),
        2 => (pick(), 0..200u8).prop_map(|(tenant, size)| Op::Upload(tenant, size)),
        2 => pick().prop_map(Op::LeaseUpload),
        2 => (pick(), secs()).prop_map(|(lease, life)| Op::NoteUpload(lease, life)),
        1 => (pick(), 0..4u8).prop_map(|(account, byte)| Op::Avatar(account, byte)),
        2 => (pick(), 0..4u8).prop_map(|(tenant, key)| Op::Import(tenant, key)),
        1 => (pick(), 0..200u8).prop_map(|(lease, size)| Op::NoteSource(lease, size)),
        1 => (pick(), secs()).prop_map(|(lease, life)| Op::FailImport(lease, life)),
        1 => pick().prop_map(Op::ReleaseUpload),
        1 => pick().prop_map(Op::FinishUpload),
        1 => pick().prop_map(Op::DeleteUpload),
        1 => (pick(), secs()).prop_map(|(media, by)| Op::Keep(media, by)),
        1 => (pick(), 1..4u8).prop_map(|(tenant, id)| Op::DataKey(tenant, id)),
        1 => (pick(), small()).prop_map(|(tenant, name)| Op::ApiKey(tenant, name)),
        1 => pick().prop_map(Op::TouchKey),
        1 => (pick(), pick()).prop_map(|(tenant, key)| Op::RevokeKey(tenant, key)),
        2 => pick().prop_map(Op::Endpoint),
        1 => (pick(), option::of(proptest::bool::ANY), proptest::bool::ANY)
            .prop_map(|(endpoint, enabled, url)| Op::ChangeEndpoint(endpoint, enabled, url)),
        1 => (pick(), 1..4i64).prop_map(|(endpoint, version)| Op::Rotate(endpoint, version)),
        1 => proptest::bool::weighted(0.2).prop_flat_map(move |gone| (0..8u8).prop_map(move |endpoint| {
            if gone { Op::DeleteEndpoint(endpoint) } else { Op::Push(endpoint) }
        })),
        3 => pick().prop_map(Op::Push),
        5 => (pick(), proptest::bool::weighted(0.9), 0..4u8, proptest::bool::weighted(0.8), proptest::bool::weighted(0.2))
            .prop_map(|(lease, own, next, attempt, disable)| Op::EndDelivery { lease, own, next, attempt, disable }),
        2 => (pick(), 0..3u8).prop_map(|(lease, views)| Op::Measure(lease, views)),
        2 => (pick(), pick()).prop_map(|(endpoint, delivery)| Op::Redeliver(endpoint, delivery)),
        1 => (pick(), 1..4u8).prop_map(|(endpoint, limit)| Op::RedeliverMany(endpoint, limit)),
        2 => (1..4u8).prop_map(Op::Purge),
        3 => (pick(), pick(), option::of(status()), 1..4u8).prop_map(|(t, a, s, limit)| Op::List(t, a, s, limit)),
    ];
    prop_oneof![
        1 => select(vec![1u16, 1, 1, 5, 5, 30, 60, 3600]).prop_map(Op::Advance),
        4 => accounts,
        7 => posts,
        6 => jobs,
        4 => events,
        6 => rest,
    ]
}

fn any_of(range: std::ops::Range<u8>) -> impl Strategy<Value = Pick> {
    range
}
