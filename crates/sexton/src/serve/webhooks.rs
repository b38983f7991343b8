//! Webhooks: a signed `POST` for each try, as standardwebhooks.com has it.

use sexton_domain::errors::causes;
use std::sync::OnceLock;

use async_trait::async_trait;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use sexton_engine::courier::{Answer, Courier, Post, Reply};
use standardwebhooks::{
    HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP, Webhook,
};

use crate::http;

#[cfg(test)]
mod fuzz;

/// How much of a refusal is read and kept.
const SAID_BYTES: usize = 200;

/// Posts webhooks. Follows no redirects, uses no proxy, reads no more than it keeps.
#[derive(Debug, Default)]
pub struct Webhooks {
    plain: OnceLock<Client>,
    /// Made when the first https hook is told: reading the system's certificates takes time and memory.
    trusting: OnceLock<Client>,
}

#[async_trait]
impl Courier for Webhooks {
    async fn post(&self, post: Post<'_>) -> Reply {
        match self.request(&post).await {
            Ok(response) => reply(response).await,
            Err(why) => Reply::failed(why),
        }
    }
}

impl Webhooks {
    async fn request(&self, post: &Post<'_>) -> Result<Response, String> {
        let client = self.client(&post.webhook.url)?;
        let request = client.post(&post.webhook.url).headers(headers(post)?);
        let sent = request.body(post.body.to_owned()).send().await;
        sent.map_err(|error| causes(&error.without_url()))
    }

    fn client(&self, url: &str) -> Result<&Client, String> {
        let scheme = url.get(..6).unwrap_or_default();
        let is_plain = !scheme.eq_ignore_ascii_case("https:");
        let client = if is_plain { &self.plain } else { &self.trusting };
        if let Some(client) = client.get() {
            return Ok(client);
        }
        let builder = if is_plain { http::plain() } else { http::trusting() };
        let made = builder.redirect(Policy::none()).build();
        let made = made.map_err(|error| format!("set up TLS: {}", causes(&error)))?;
        Ok(client.get_or_init(|| made))
    }
}

fn headers(post: &Post<'_>) -> Result<HeaderMap, String> {
    let (id, at) = (post.id.to_string(), post.at.as_second());
    let mut headers =
        HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    let mut set = |name: &'static str, value: &str| {
        let value = HeaderValue::from_str(value).map_err(|error| error.to_string())?;
        headers.insert(HeaderName::from_static(name), value);
        Ok::<(), String>(())
    };
    set(HEADER_WEBHOOK_ID, &id)?;
    set(HEADER_WEBHOOK_TIMESTAMP, &at.to_string())?;
    if let Some(secret) = &post.webhook.secret {
        let signed = Webhook::new(&secret.0)
            .and_then(|webhook| webhook.sign(&id, at, post.body.as_bytes()))
            .map_err(|error| format!("sign: {error}"))?;
        set(HEADER_WEBHOOK_SIGNATURE, &signed)?;
    }
    Ok(headers)
}

/// What an answer means. One that acknowledges is not read any further.
async fn reply(response: Response) -> Reply {
    let status = response.status();
    let said = format!("status {status}");
    match status {
        _ if status.is_success() => Reply { answer: Answer::Acknowledged, said },
        StatusCode::GONE => Reply { answer: Answer::Gone, said },
        _ if status.is_redirection() => {
            Reply::failed(format!("{said}: redirects are not followed"))
        }
        _ => match beginning(response).await {
            text if text.is_empty() => Reply::failed(said),
            text => Reply::failed(format!("{said}: {text}")),
        },
    }
}

/// The beginning of what was said, on one line.
async fn beginning(mut response: Response) -> String {
    let mut bytes = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        bytes.extend_from_slice(&chunk[..chunk.len().min(SAID_BYTES - bytes.len())]);
        if bytes.len() == SAID_BYTES {
            break;
        }
    }
    let text = String::from_utf8_lossy(&bytes);
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").replace(char::is_control, "").trim().to_owned()
}
