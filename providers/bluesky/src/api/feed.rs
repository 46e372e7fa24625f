//! Posts as readers see them (lexicon `app.bsky.feed.getPosts`): how often they are liked, answered and shown again.

use patchbay_core::{HttpRequest, HttpResponse, Metric, PostMetrics, ProviderError};
use serde::Deserialize;

use super::{at, read};
use crate::manifest::{RESOLVER, op};

/// Most posts of one call.
pub(crate) const MAX_POSTS: usize = 25;

/// `app.bsky.feed.getPosts`, at Bluesky's own server: it needs no token, and other servers pass the question on to it.
pub(crate) fn get(uris: &[&str]) -> HttpRequest {
    let url = at(RESOLVER, "/xrpc/app.bsky.feed.getPosts");
    let request = HttpRequest::new(op::POSTS_GET, url);
    uris.iter()
        .fold(request, |request, uri| request.with_query("uris", *uri))
}

#[derive(Deserialize)]
struct Posts {
    posts: Vec<Post>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Post {
    uri: String,
    like_count: Option<u64>,
    reply_count: Option<u64>,
    repost_count: Option<u64>,
    quote_count: Option<u64>,
}

/// Reads the answer. Posts that are deleted, or were never seen, are absent.
pub(crate) fn parse(response: &HttpResponse) -> Result<Vec<PostMetrics>, ProviderError> {
    let Posts { posts } = read(op::POSTS_GET, response)?;
    let metrics = |post: Post| {
        PostMetrics::of(
            post.uri,
            [
                (Metric::Likes, post.like_count),
                (Metric::Comments, post.reply_count),
                (Metric::Reposts, post.repost_count),
                (Metric::Quotes, post.quote_count),
            ],
        )
    };
    Ok(posts.into_iter().map(metrics).collect())
}
