//! Texts of the operator that platforms look for: proofs that the domain is theirs, a privacy policy, terms of service.
//! What is not configured has no path.

use axum::{
    Router,
    http::header,
    response::{Html, IntoResponse},
    routing::get,
};
use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd, html};

use super::pages;
use crate::{
    config::{SiteConfig, site::content_type},
    host::Host,
};

/// Where platforms fetch media. A proof for this path lies directly below it.
const PULL: &str = "/api/media/pull";

/// The texts that are configured. They answer GET and HEAD alone.
pub fn routes(site: &SiteConfig) -> Router<Host> {
    let mut router = Router::new();
    for (name, content) in &site.files {
        let Some(content_type) = content_type(name) else {
            continue;
        };
        for below in ["", PULL] {
            let answer = ([(header::CONTENT_TYPE, content_type)], content.clone());
            router = router.route(&format!("{below}/{name}"), get(async move || answer));
        }
    }
    for (path, title, text) in [
        ("/privacy", "Privacy policy", &site.privacy),
        ("/terms", "Terms of service", &site.terms),
    ] {
        if let Some(text) = text {
            let page = page(title, text);
            router = router.route(path, get(async move || Html(page).into_response()));
        }
    }
    router
}

/// A page of Markdown. Raw HTML in it is shown as text, and its links lead to other pages alone.
fn page(title: &str, markdown: &str) -> String {
    let events = Parser::new_ext(markdown, Options::ENABLE_TABLES).filter_map(|event| match event {
        Event::Html(text) | Event::InlineHtml(text) => Some(Event::Text(text)),
        Event::Start(Tag::Link {
            link_type,
            dest_url,
            title,
            id,
        }) => Some(Event::Start(Tag::Link {
            link_type,
            dest_url: if leads_to_a_page(&dest_url) {
                dest_url
            } else {
                CowStr::Borrowed("#")
            },
            title,
            id,
        })),
        // The text in the place of the picture stays.
        Event::Start(Tag::Image { .. }) | Event::End(TagEnd::Image) => None,
        other => Some(other),
    });
    let mut body = String::new();
    html::push_html(&mut body, events);
    pages::text(title, &body)
}

fn leads_to_a_page(url: &str) -> bool {
    ["https://", "http://", "mailto:", "#"]
        .iter()
        .any(|start| url.starts_with(start))
        || (url.starts_with('/') && !url.starts_with("//"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_becomes_a_page_and_nothing_in_it_runs() {
        let text = "# Privacy\n\nWe keep **little**. <script>alert(1)</script>\n\n<iframe src=x></iframe>\n\n\
                    [bad](javascript:alert(1)) [odd](//elsewhere.example) [good](https://a.example/) ![shot](x.png)\n";
        let page = page("Privacy policy", text);
        assert!(
            page.contains("<h1>Privacy</h1>") && page.contains("<strong>little</strong>"),
            "{page}"
        );
        assert!(page.contains("<title>Privacy policy"), "{page}");
        for wrong in ["<script>alert", "<iframe", "javascript:", "//elsewhere", "<img src=\"x"] {
            assert!(!page.contains(wrong), "{wrong} in {page}");
        }
        assert!(
            page.contains("<a href=\"https://a.example/\">good</a>") && page.contains("shot"),
            "{page}"
        );
    }
}
