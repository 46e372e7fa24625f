use patchbay_app::{
    audit::{self, Chain},
    model::{Actor, AuditAction, AuditEntry, By, EndpointChange, JobKind, NewAudit, SealedSecret},
    store::{AuditFilter, DeadFilter, JobEnd, PageRequest},
};
use patchbay_core::{ApiKeyId, AuditId, TenantId};
use serde_json::json;

use super::keys::api_key;
use crate::harness::{MINUTE, SECOND, TENANT, World, at_once};

fn note(w: &World, tenant: TenantId, action: AuditAction) -> NewAudit {
    NewAudit {
        id: AuditId::from_uuid(w.id()),
        tenant,
        by: By {
            actor: Actor::Key(ApiKeyId::from_uuid(w.id())),
            request_id: "req-1".into(),
        },
        action,
        target: Some("thing".into()),
        detail: json!({ "b": 1, "a": "\0" }),
    }
}

async fn chain(w: &World, tenant: TenantId) -> Vec<AuditEntry> {
    w.store.audit_chain(tenant, 0, 500).await.unwrap()
}

async fn assert_whole(w: &World, tenant: TenantId, rows: i64) {
    match audit::verify(&*w.store, tenant).await.unwrap() {
        Chain::Whole(head) => assert_eq!(head.seq, rows),
        broken @ Chain::Broken { .. } => panic!("{broken:?}"),
    }
}

pub async fn an_action_is_noted_with_what_it_does_and_only_if_it_does_something(w: World) {
    let noted = async |expected: &[AuditAction]| {
        let actions: Vec<_> = chain(&w, TENANT).await.into_iter().map(|row| row.action).collect();
        let expected: Vec<_> = expected.iter().map(|action| action.as_str()).collect();
        assert_eq!(actions, expected);
    };
    let of = |action| note(&w, TENANT, action);
    let mut done = Vec::new();

    let key = api_key(&w, TENANT, "public");
    w.store.create_api_key(&key, &of(AuditAction::KeyCreated)).await.unwrap();
    w.store.create_api_key(&key, &of(AuditAction::KeyCreated)).await.unwrap_err();
    done.push(AuditAction::KeyCreated);
    noted(&done).await;
    for _ in 0..2 {
        let audit = of(AuditAction::KeyRevoked);
        assert!(w.store.revoke_api_key(TENANT, key.id, &audit).await.unwrap());
    }
    let nobodys = ApiKeyId::from_uuid(w.id());
    let audit = of(AuditAction::KeyRevoked);
    assert!(!w.store.revoke_api_key(TENANT, nobodys, &audit).await.unwrap());
    done.push(AuditAction::KeyRevoked);
    noted(&done).await;

    w.store
        .create_tenant(TenantId::from_uuid(w.id()), "default", &of(AuditAction::TenantCreated))
        .await
        .unwrap_err();
    noted(&done).await;

    // The harness notes a connect as something else.
    let account = w.account("remote").await;
    done.push(AuditAction::KeyCreated);
    let locked = of(AuditAction::AccountLocked);
    for _ in 0..2 {
        let event = w.event("account.reauth_required");
        w.store
            .require_reauth(TENANT, account.id, account.tokens.as_ref().unwrap().version, "code", &event, &locked)
            .await
            .unwrap();
    }
    done.push(AuditAction::AccountLocked);
    noted(&done).await;
    for _ in 0..2 {
        let event = w.event("account.disconnected");
        let audit = of(AuditAction::AccountDisconnected);
        w.store
            .begin_disconnect(TENANT, account.id, "disconnected", None, &event, &audit)
            .await
            .unwrap();
    }
    done.push(AuditAction::AccountDisconnected);
    noted(&done).await;

    let endpoint = w.new_endpoint(TENANT, &[]);
    for most in [1, 1] {
        let audit = of(AuditAction::EndpointCreated);
        w.store.create_endpoint(&endpoint, most, &audit).await.unwrap();
    }
    done.push(AuditAction::EndpointCreated);
    let changed = of(AuditAction::EndpointChanged);
    let change = EndpointChange::default();
    let foreign = w.other_tenant().await;
    for tenant in [TENANT, foreign] {
        w.store
            .change_endpoint(tenant, endpoint.id, &change, &changed)
            .await
            .unwrap();
    }
    done.push(AuditAction::EndpointChanged);
    let rotated = of(AuditAction::EndpointSecretRotated);
    let secret = SealedSecret {
        envelope: b"sealed 2".to_vec(),
        version: 2,
    };
    for _ in 0..2 {
        let _ = w.store.rotate_secret(TENANT, endpoint.id, &secret, w.now(), &rotated).await;
    }
    done.push(AuditAction::EndpointSecretRotated);
    for _ in 0..2 {
        let audit = of(AuditAction::EndpointDeleted);
        w.store.delete_endpoint(TENANT, endpoint.id, &audit).await.unwrap();
    }
    done.push(AuditAction::EndpointDeleted);
    noted(&done).await;

    w.webhook("app").await;
    let job = w.claimed(JobKind::Ingest).await;
    let dead = JobEnd::Dead { code: "bad".into() };
    assert!(w.store.end_job(job.lease(), &dead).await.unwrap());
    for _ in 0..2 {
        let audit = of(AuditAction::DeadLetterReplayed);
        w.store.revive_job(TENANT, job.id, &audit).await.unwrap();
        w.store.revive_jobs(TENANT, DeadFilter::default(), 10, &audit).await.unwrap();
    }
    done.push(AuditAction::DeadLetterReplayed);
    noted(&done).await;
    assert_whole(&w, TENANT, i64::try_from(done.len()).unwrap()).await;
    assert_eq!(chain(&w, foreign).await, []);
}

pub async fn t91_of_many_who_append_at_once_each_has_a_place_in_one_chain(w: World) {
    let other = w.other_tenant().await;
    at_once(12, |index| {
        let w = w.clone();
        async move {
            for _ in 0..5 {
                let tenant = if index % 3 == 0 { other } else { TENANT };
                let audit = note(&w, tenant, AuditAction::KeyCreated);
                w.store.add_audit(&audit).await.unwrap();
            }
        }
    })
    .await;
    for (tenant, rows) in [(TENANT, 40), (other, 20)] {
        let places: Vec<_> = chain(&w, tenant).await.iter().map(|row| row.seq).collect();
        assert_eq!(places, (1..=rows).collect::<Vec<_>>());
        assert_whole(&w, tenant, rows).await;
    }
}

pub async fn the_log_is_listed_newest_first_and_found_by_action_target_and_time(w: World) {
    let mut made = Vec::new();
    for index in 0..4 {
        let action = [AuditAction::KeyCreated, AuditAction::KeyRevoked][index % 2];
        let mut audit = note(&w, TENANT, action);
        audit.target = Some(format!("key-{}", index / 2));
        made.insert(0, w.store.add_audit(&audit).await.unwrap());
        w.advance(MINUTE);
    }
    assert_eq!(made[3].detail, "{\"a\":\"\u{fffd}\",\"b\":1}");
    let found = async |filter: AuditFilter| {
        let mut found = Vec::new();
        let mut page = PageRequest { after: None, limit: 1 };
        loop {
            let part = w.store.audit(TENANT, &filter, page).await.unwrap();
            found.extend(part.items);
            page.after = part.next;
            if page.after.is_none() {
                return found;
            }
        }
    };
    assert_eq!(found(AuditFilter::default()).await, made);
    let revoked = AuditFilter {
        action: Some("key.revoked".into()),
        ..AuditFilter::default()
    };
    assert_eq!(found(revoked).await, [made[0].clone(), made[2].clone()]);
    let first = AuditFilter {
        target: Some("key-0".into()),
        ..AuditFilter::default()
    };
    assert_eq!(found(first).await, made[2..]);
    let between = AuditFilter {
        from: Some(made[2].at),
        to: Some(made[0].at),
        ..AuditFilter::default()
    };
    assert_eq!(found(between).await, made[1..3]);
    let other = w.other_tenant().await;
    let page = PageRequest { after: None, limit: 9 };
    let foreign = w.store.audit(other, &AuditFilter::default(), page).await.unwrap();
    assert_eq!(foreign.items, []);
}

pub async fn tenants_with_a_chain_are_found_one_after_another(w: World) {
    assert_eq!(w.store.audited_tenant(None).await.unwrap(), None);
    assert_eq!(w.store.audit_head(TENANT).await.unwrap(), None);
    w.advance(SECOND);
    let other = w.other_tenant().await;
    let mut tenants = [TENANT, other];
    tenants.sort();
    for tenant in tenants {
        let row = w.store.add_audit(&note(&w, tenant, AuditAction::KeyCreated)).await.unwrap();
        let head = w.store.audit_head(tenant).await.unwrap().unwrap();
        assert_eq!((head.seq, head.hash), (1, row.hash));
    }
    assert_eq!(w.store.audited_tenant(None).await.unwrap(), Some(tenants[0]));
    assert_eq!(w.store.audited_tenant(Some(tenants[0])).await.unwrap(), Some(tenants[1]));
    assert_eq!(w.store.audited_tenant(Some(tenants[1])).await.unwrap(), None);
}
