use patchbay_app::model::{Account, Picture};

use crate::harness::{SECOND, TENANT, World, at_once};

const SOURCE: &str = "https://pictures.example.com/ada?size=100";

/// An account whose picture the platform has told.
async fn account(w: &World, remote_id: &str) -> Account {
    let mut account = w.new_account(TENANT, remote_id);
    account.avatar_url = Some(SOURCE.parse().unwrap());
    w.connect_as(&account).await.unwrap()
}

fn picture(byte: u8) -> Picture {
    Picture {
        mime: "image/png".into(),
        sha256: [byte; 32],
        bytes: vec![byte; 300],
    }
}

pub async fn a_picture_is_looked_for_by_one_at_a_time(w: World) {
    let account = account(&w, "remote").await;
    assert_eq!(w.store.avatar(TENANT, account.id).await.unwrap(), None);
    let claims = at_once(6, |_| {
        let (store, id) = (w.store.clone(), account.id);
        async move { store.claim_avatar(TENANT, id, SOURCE, None).await.unwrap() }
    })
    .await;
    assert_eq!(claims.iter().filter(|claimed| **claimed).count(), 1);
    let first = w.store.avatar(TENANT, account.id).await.unwrap().unwrap();
    assert_eq!((&*first.source, first.looked_at, &first.picture), (SOURCE, w.now(), &None));

    w.store.keep_avatar(TENANT, account.id, SOURCE, &picture(1)).await.unwrap();
    let kept = w.store.avatar(TENANT, account.id).await.unwrap().unwrap();
    assert_eq!(kept.picture, Some(picture(1)));

    // What was seen before is seen by one, and the picture stays until there is another.
    w.advance(SECOND);
    let claims = at_once(6, |_| {
        let (store, id, seen) = (w.store.clone(), account.id, kept.looked_at);
        async move { store.claim_avatar(TENANT, id, SOURCE, Some(seen)).await.unwrap() }
    })
    .await;
    assert_eq!(claims.iter().filter(|claimed| **claimed).count(), 1);
    let again = w.store.avatar(TENANT, account.id).await.unwrap().unwrap();
    assert_eq!((again.looked_at, again.picture), (w.now(), Some(picture(1))));
    // One that was found where nobody looks any more is not kept.
    w.store.keep_avatar(TENANT, account.id, "https://elsewhere.example.com/", &picture(2)).await.unwrap();
    let kept = w.store.avatar(TENANT, account.id).await.unwrap().unwrap();
    assert_eq!(kept.picture, Some(picture(1)));
}

pub async fn pictures_belong_to_accounts_and_go_with_them(w: World) {
    let account = account(&w, "remote").await;
    let other = w.other_tenant().await;
    assert!(!w.store.claim_avatar(other, account.id, SOURCE, None).await.unwrap());
    let elsewhere = "https://elsewhere.example.com/";
    assert!(!w.store.claim_avatar(TENANT, account.id, elsewhere, None).await.unwrap());
    assert!(w.store.claim_avatar(TENANT, account.id, SOURCE, None).await.unwrap());
    w.store.keep_avatar(other, account.id, SOURCE, &picture(1)).await.unwrap();
    assert_eq!(w.store.avatar(other, account.id).await.unwrap(), None);
    let found = w.store.avatar(TENANT, account.id).await.unwrap().unwrap();
    assert_eq!(found.picture, None);
    // The platform tells another one.
    let mut anew = w.new_account(TENANT, "remote");
    anew.avatar_url = Some(elsewhere.parse().unwrap());
    w.connect_as(&anew).await.unwrap();
    assert!(!w.store.claim_avatar(TENANT, account.id, SOURCE, Some(found.looked_at)).await.unwrap());
    assert!(w.store.claim_avatar(TENANT, account.id, elsewhere, Some(found.looked_at)).await.unwrap());
    let found = w.store.avatar(TENANT, account.id).await.unwrap().unwrap();
    assert_eq!(found.source, elsewhere);
}
