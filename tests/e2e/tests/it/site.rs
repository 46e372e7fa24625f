//! Texts that platforms look for on an app's own domain.

use crate::harness::{Setup, World};

const PROOF: &str = "proofAbC123.txt";

async fn with_texts() -> World {
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("privacy.md");
    std::fs::write(&policy, "# What we keep\n\nLittle, and <b>not</b> for long.\n").unwrap();
    Setup::default()
        .set(
            "PATCHBAY__SITE__FILES",
            format!("{PROOF}=verification=AbC123,page.html=<p>mine</p>"),
        )
        .set("PATCHBAY__SITE__PRIVACY_FILE", policy.display().to_string())
        .build()
        .await
}

#[tokio::test]
async fn proofs_stand_at_the_root_and_where_media_are_fetched() {
    let world = with_texts().await;
    let nobody = world.api.with_key(None);
    for below in ["", "/api/media/pull"] {
        let proof = nobody.get(&format!("{below}/{PROOF}")).await;
        assert_eq!((proof.status, proof.text.as_str()), (200, "verification=AbC123"));
        assert_eq!(proof.header("content-type"), Some("text/plain; charset=utf-8"));
        let page = nobody.get(&format!("{below}/page.html")).await;
        assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'"), "{policy}");
        nobody
            .get(&format!("{below}/other.txt"))
            .await
            .problem(404, "not_found");
    }
}

#[tokio::test]
async fn the_privacy_policy_is_a_page_and_what_is_not_configured_is_none() {
    let world = with_texts().await;
    let page = world.api.with_key(None).get("/privacy").await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains("<h1>What we keep</h1>"), "{}", page.text);
    assert!(page.text.contains("&lt;b&gt;not&lt;/b&gt;"), "{}", page.text);
    world.api.get("/terms").await.problem(404, "not_found");
}
