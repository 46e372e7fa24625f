//! Media in a bucket of an S3-compatible store: uploads go on at any host, and files are published from there.

use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use patchbay_app::media as app_media;
use patchbay_core::{MediaId, TenantId};
use reqwest::Method;
use serde_json::json;

use crate::{
    harness::{ADA, Api, Setup, World, media, on_postgres, s3::S3, send, video_post},
    uploads::{begun, bytes_of, cut, look, offset, piece, piece_when_free, sha256, tus, until_offset},
};

#[tokio::test]
async fn an_upload_goes_on_at_another_host_with_a_folder_of_its_own() {
    let Some(s3) = S3::start().await else { return };
    on_postgres(async |database| {
        let setup = Setup {
            database,
            ..Setup::default()
        };
        let world = s3.keeps(setup).build().await;
        let second = world.another_host("second").await;
        let other = Api::new(format!("http://{}", second.address), world.api.key.clone());
        let video = media::padded(20 << 20);
        let path = begun(&world.api, video.len()).await;
        // Below, at and above the ends of parts, back and forth.
        let stops = [7, 1 << 20, 8 << 20, (8 << 20) + 1, (16 << 20) - 1, 19 << 20];
        let mut at = 0;
        for (turn, to) in stops.into_iter().enumerate() {
            let api = if turn % 2 == 0 { &world.api } else { &other };
            cut(api, &path, at, video.len() - at, &video[at..to], "").await;
            until_offset(&world.api, &path, to).await;
            at = to;
        }
        let last = piece_when_free(&other, &path, at, &video[at..]).await;
        assert_eq!(last.status, 204, "{}", last.text);
        let id = last.header("patchbay-media-id").unwrap();
        let file = world.api.get(&format!("/api/media/{id}")).await.ok();
        assert_eq!(file["sha256"], sha256(&video));
        assert_eq!((&file["width"], &file["codec"]), (&json!(360), &json!("avc1")));
        assert_eq!(bytes_of(&other, id).await, video);
        let part = world.api.request(Method::GET, &format!("/api/media/{id}/content"));
        let part = part.header("range", format!("bytes={}-{}", (8 << 20) - 5, (8 << 20) + 4));
        let part = part.send().await.unwrap();
        assert_eq!(part.status(), 206);
        assert_eq!(part.bytes().await.unwrap(), video.slice((8 << 20) - 5..(8 << 20) + 5));
        // The file is all that is left.
        assert_eq!(left(&world).await, [id]);

        let account = world.connect_as(&world.api, ADA).await;
        let post = world.post(&video_post(&account, id)).await;
        assert_eq!(world.settled(&post).await["status"], "published");
        second.stop().await;
    })
    .await;
}

#[tokio::test]
async fn what_is_completed_is_finished_by_whoever_comes_next() {
    let Some(s3) = S3::start().await else { return };
    let world = s3.keeps(Setup::default()).build().await;
    for size in [media::video().len() as u64, 20 << 20] {
        let video = media::padded(size.max(media::video().len() as u64));
        let path = begun(&world.api, video.len()).await;
        let id: MediaId = path.rsplit('/').next().unwrap().parse().unwrap();
        // All but the end of the last request, as a kill leaves it: bytes are noted, and the object is made.
        assert_eq!(
            piece(&world.api, &path, 0, video.slice(..video.len() - 1)).await.status,
            204
        );
        let store = &world.app().store;
        let upload = store.upload(TenantId::DEFAULT, id).await.unwrap().unwrap();
        let place = upload.progress.place.as_deref();
        let mut last = world
            .app()
            .media
            .append(id, upload.progress.offset, place)
            .await
            .unwrap();
        last.write(video.slice(video.len() - 1..)).await.unwrap();
        let place = last.sync().await.unwrap();
        for _ in 0..2 {
            world
                .app()
                .media
                .complete(id, video.len() as u64, place.as_deref())
                .await
                .unwrap();
        }
        let answer = world
            .app()
            .media
            .open(
                id,
                patchbay_core::ByteRange {
                    start: 0,
                    end: video.len() as u64,
                },
            )
            .await;
        let pieces: Vec<Bytes> = answer.unwrap().try_collect().await.unwrap();
        assert_eq!(pieces.concat(), video);
        let _ = world.app().media.delete(id, place.as_deref()).await;
    }
    assert_eq!(left(&world).await, [""; 0]);
}

#[tokio::test]
async fn nothing_stays_of_what_was_deleted_or_belongs_to_nobody() {
    let Some(s3) = S3::start().await else { return };
    let world = s3.keeps(Setup::default()).build().await;
    let api = &world.api;
    let video = media::padded(17 << 20);
    let path = begun(api, video.len()).await;
    assert_eq!(piece(api, &path, 0, video.slice(..9 << 20)).await.status, 204);
    assert_eq!(
        piece(api, &path, 9 << 20, video.slice(9 << 20..10 << 20)).await.status,
        204
    );
    assert_eq!(offset(api, &path).await, 10 << 20);
    assert_eq!(send(tus(api, Method::DELETE, &path)).await.status, 204);
    assert_eq!(look(api, &path).await.status, 404);
    assert_eq!(left(&world).await, [""; 0]);

    let kept = world.upload(video.clone()).await;
    let page = Bytes::from_static(b"<!doctype html>");
    send(api.request(Method::POST, "/api/media").body(page))
        .await
        .problem(422, "invalid");
    assert_eq!(left(&world).await, [&*kept]);

    // The bytes of one that was purged, and whose host was killed then.
    let store = &world.app().store;
    world.advance(Duration::from_hours(24 * 8));
    assert_eq!(store.purge_media(10).await.unwrap().len(), 1);
    // By the store's clock, they are young or old.
    world.advance(Duration::from_hours(24 * 365));
    assert_eq!(app_media::sweep(world.app()).await.unwrap(), 1);
    assert_eq!(left(&world).await, [""; 0]);
}

/// Ids of which there are objects, once for each object. s3rver cannot abort multipart uploads, so what it keeps of those is left
/// out: no list shows it.
async fn left(world: &World) -> Vec<String> {
    let pages: Vec<_> = world.app().media.list().await.unwrap().try_collect().await.unwrap();
    pages.concat().into_iter().map(|(id, _)| id.to_string()).collect()
}
