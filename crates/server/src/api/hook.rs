//! Hooks and deliveries on the wire.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sexton_domain::event::EventType;
use sexton_domain::hook::{self, DeadReason, DeliveryState};
use sexton_domain::id::{DeliveryId, EventId, SessionId};
use sexton_domain::key::SessionKind;
use sexton_domain::name::{AgentName, HookName, JobKey};
use sexton_engine::courier::Answer;
use sexton_engine::handle;
use sexton_engine::settings::{HookSettings, Way};

use super::event::id;
use super::schema::{DeadReasonWord, EventTypeWord, Id, KindWord};

/// Who is told of events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Hook {
    /// Its name in the config.
    #[schemars(with = "String")]
    pub name: HookName,
    /// Whether it is told now.
    pub enabled: bool,
    /// Why not: `operator` or `410 gone`.
    pub disabled_why: Option<String>,
    /// Since when not.
    pub disabled_at: Option<Timestamp>,
    /// Since when it is told at all.
    pub since: Option<Timestamp>,
    /// Deliveries that are still to go out.
    pub pending: u64,
    /// Deliveries that were acknowledged and are still kept.
    pub delivered: u64,
    /// Deliveries that were given up and are still kept.
    pub dead: u64,
    /// What the config says of it; null when the daemon does not run.
    pub settings: Option<HookSpec>,
}

/// What the config says of a hook, without its secret.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HookSpec {
    /// The command, or where it is posted to, without user, password and query.
    pub target: String,
    /// Whether what is posted is signed.
    pub signed: bool,
    /// What it is told.
    #[schemars(with = "Vec<EventTypeWord>")]
    pub on: Vec<EventType>,
    /// Only of these agents; none is all.
    #[schemars(with = "Vec<String>")]
    pub agents: Vec<AgentName>,
    /// Only of these jobs; none is all.
    #[schemars(with = "Vec<String>")]
    pub jobs: Vec<JobKey>,
    /// Only of sessions of these kinds; none is all.
    #[schemars(with = "Vec<KindWord>")]
    pub kinds: Vec<SessionKind>,
    /// For one try, such as `5s`.
    pub timeout: String,
    /// Tries until a delivery is dead.
    pub max_attempts: u32,
    /// The age at which a delivery is dead, such as `7d`.
    pub max_age: String,
    /// Tries at once.
    pub concurrency: u32,
}

/// One event on its way to one hook.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Delivery {
    /// What webhooks get as `webhook-id`, the same for every try.
    #[schemars(with = "Id")]
    pub id: DeliveryId,
    /// `evt_` and a UUID.
    #[serde(with = "id")]
    #[schemars(with = "String")]
    pub event_id: EventId,
    /// What happened.
    #[schemars(with = "Option<EventTypeWord>")]
    pub event_type: Option<EventType>,
    /// Who is told.
    #[schemars(with = "String")]
    pub hook: HookName,
    /// About which session: those of one hook and session go out in order.
    #[schemars(with = "Option<Id>")]
    pub session_id: Option<SessionId>,
    /// `pending`, `delivered` or `dead`.
    pub state: String,
    /// When it is tried next.
    pub next_at: Option<Timestamp>,
    /// When it was acknowledged or given up.
    pub settled_at: Option<Timestamp>,
    /// Why it was given up.
    #[schemars(with = "Option<DeadReasonWord>")]
    pub why: Option<DeadReason>,
    /// How often it was tried.
    pub attempts: u32,
    /// What went wrong the last time.
    pub last_error: Option<String>,
    /// Sent again by hand, outside the order.
    pub by_hand: bool,
    /// When its event happened.
    pub created_at: Timestamp,
}

/// What came of a try with a made-up event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HookTest {
    /// What it means.
    pub answer: HookAnswer,
    /// What the hook said.
    pub said: String,
    /// How long it took.
    pub took_ms: u64,
}

/// What an answer of a hook means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HookAnswer {
    /// It has the event.
    Acknowledged,
    /// It wants no more: a delivery would switch it off.
    Gone,
    /// Anything else.
    Failed,
}

impl From<&handle::HookState> for Hook {
    fn from(state: &handle::HookState) -> Self {
        let record = state.record.as_ref();
        let disabled = record.and_then(|record| record.disabled.as_ref());
        Self {
            name: state.name.clone(),
            enabled: disabled.is_none(),
            disabled_why: disabled.map(|disabled| disabled.why.clone()),
            disabled_at: disabled.map(|disabled| disabled.since),
            since: record.and_then(|record| record.since),
            pending: state.pending,
            delivered: state.delivered,
            dead: state.dead,
            settings: state.settings.as_ref().map(HookSpec::from),
        }
    }
}

impl From<&HookSettings> for HookSpec {
    fn from(settings: &HookSettings) -> Self {
        let told = &settings.subscription;
        let (target, signed) = match &settings.way {
            Way::Command(argv) => (argv.join(" "), false),
            Way::Webhook(webhook) => (bare(&webhook.url), webhook.secret.is_some()),
        };
        Self {
            target,
            signed,
            on: told.on.iter().copied().collect(),
            agents: told.agents.iter().cloned().collect(),
            jobs: told.jobs.iter().cloned().collect(),
            kinds: told.kinds.iter().copied().collect(),
            timeout: settings.timeout.to_string(),
            max_attempts: told.max_attempts,
            max_age: told.max_age.to_string(),
            concurrency: settings.concurrency,
        }
    }
}

/// A URL without the parts in which people put secrets.
fn bare(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{path}")
}

impl From<&hook::Delivery> for Delivery {
    fn from(delivery: &hook::Delivery) -> Self {
        let (next_at, settled_at, why) = match delivery.state {
            DeliveryState::Pending { next_at } => (Some(next_at), None, None),
            DeliveryState::Delivered { at } => (None, Some(at), None),
            DeliveryState::Dead { at, why } => (None, Some(at), Some(why)),
        };
        Self {
            id: delivery.id,
            event_id: delivery.event,
            event_type: delivery.event_type,
            hook: delivery.hook.clone(),
            session_id: delivery.session,
            state: delivery.state.name().to_owned(),
            next_at,
            settled_at,
            why,
            attempts: delivery.attempts,
            last_error: delivery.last_error.clone(),
            by_hand: delivery.by_hand,
            created_at: delivery.created_at,
        }
    }
}

impl From<handle::HookTest> for HookTest {
    fn from(test: handle::HookTest) -> Self {
        Self {
            answer: match test.reply.answer {
                Answer::Acknowledged => HookAnswer::Acknowledged,
                Answer::Gone => HookAnswer::Gone,
                Answer::Failed(_) => HookAnswer::Failed,
            },
            said: test.reply.said,
            took_ms: u64::try_from(test.took.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::bare;

    #[test]
    fn the_parts_of_a_url_that_hold_secrets_are_not_shown() {
        assert_eq!(bare("https://me:pw@example.org:8/in?token=x#y"), "https://example.org:8/in");
        assert_eq!(bare("http://example.org"), "http://example.org");
    }
}
