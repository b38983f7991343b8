//! Ids: newtypes over UUIDv7, and the source they are minted from inside a decision.

use std::fmt;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::name::HookName;

/// A text that is not an id of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("read {value:?} as {what} id: expected a UUID like 01890a5d-ac96-774b-bcce-b302099a8057")]
pub struct IdError {
    what: &'static str,
    value: String,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident, $what:literal, $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// The bare UUID, for storage and for environment variables.
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let bare = text.strip_prefix($prefix).unwrap_or(text);
                Uuid::try_parse(bare)
                    .map(Self)
                    .map_err(|_| IdError { what: $what, value: text.chars().take(64).collect() })
            }
        }
    )*};
}

ids! {
    /// A job; stable over edits, never reused after removal.
    JobId, "a job", "";
    /// One execution of a slot, a manual trigger or a message.
    RunId, "a run", "";
    /// One bounded span of an agent's work; never reused.
    SessionId, "a session", "";
    /// A Sexton process as its peers see it.
    NodeId, "a node", "";
    /// An immutable fact in the event log. Printed `evt_<uuid>`.
    EventId, "an event", "evt_";
    /// One event on its way to one hook: the idempotency key of webhooks.
    DeliveryId, "a delivery", "";
    /// One usage report.
    UsageId, "a usage", "";
    /// An access token (its id, not its secret).
    TokenId, "a token", "";
    /// What one commit of an import did.
    ReceiptPartId, "a part of a receipt", "";
}

/// Mints the ids of one decision.
///
/// Pure: the same `now` and seed give the same ids. Ids are UUIDv7; those of one source carry a
/// counter in the 12 bits after the version, so they sort in the order in which they were minted. It begins
/// with the [step](Ids::STEP) of the millisecond that `now` is in, and where it comes to more than 4095, the
/// time of the ids runs ahead (RFC 9562, section 6.2).
#[derive(Debug)]
pub struct Ids {
    at_ms: u64,
    seed: u128,
    minted: u64,
}

impl Ids {
    /// Decisions that are this far apart have ids in their order, where none of them mints more than 64.
    pub const STEP: SignedDuration = SignedDuration::from_nanos(1_000_000 / 64);

    /// A source for a decision taken at `now`; `seed` comes from the shell's entropy.
    pub fn new(now: Timestamp, seed: u128) -> Self {
        let at_ms = u64::try_from(now.as_millisecond()).unwrap_or(0);
        let steps = u64::try_from(now.as_nanosecond() % 1_000_000 / Self::STEP.as_nanos());
        Self { at_ms, seed, minted: steps.unwrap_or(0) * 64 }
    }

    /// The next id.
    pub fn mint<T: From<Uuid>>(&mut self) -> T {
        let [low, high] = [self.seed as u64, (self.seed >> 64) as u64];
        let step = self.minted.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let random = mix(mix(low.wrapping_add(step)) ^ high);
        let mut bytes = [0; 10];
        bytes[..2].copy_from_slice(&((self.minted & 0x0fff) as u16).to_be_bytes());
        bytes[2..].copy_from_slice(&random.to_be_bytes());
        let at_ms = self.at_ms + (self.minted >> 12);
        self.minted += 1;
        uuid::Builder::from_unix_timestamp_millis(at_ms, &bytes).into_uuid().into()
    }
}

impl DeliveryId {
    /// The delivery of an event to a hook. It begins with the event's time and place among the others of
    /// its decision, and the rest follows from event and name: an event is told to a hook once.
    pub fn of(event: EventId, hook: &HookName) -> Self {
        let [high, low] = [(event.0.as_u128() >> 64) as u64, event.0.as_u128() as u64];
        let salt = hook.as_str().bytes().fold(high, |salt, byte| mix(salt ^ u64::from(byte)));
        let mut bytes = *event.0.as_bytes();
        bytes[8..].copy_from_slice(&mix(mix(low) ^ salt).to_be_bytes());
        Self(
            uuid::Builder::from_bytes(bytes)
                .with_variant(uuid::Variant::RFC4122)
                .with_version(uuid::Version::SortRand)
                .into_uuid(),
        )
    }

    /// A number that follows from the delivery and the count of its failures.
    pub(crate) fn jitter(self, failures: u32) -> u32 {
        (mix(self.0.as_u128() as u64 ^ u64::from(failures)) >> 32) as u32
    }
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014): a bijection that spreads every bit.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl UsageId {
    /// The id of what a line of a run's report counts: always the same, so that counting it again
    /// finds it counted.
    pub fn of(run: RunId, line: u64) -> Self {
        let seed = run.uuid().as_u128();
        // The first 48 bits of a UUIDv7 are its milliseconds.
        let at_ms = u64::try_from(seed >> 80).unwrap_or(0);
        Ids { at_ms, seed, minted: line }.mint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_one_source_are_distinct_version_7_and_sort_in_minting_order() {
        let now: Timestamp = "2026-11-20T18:00:00Z".parse().unwrap();
        let mut ids = Ids::new(now, 7);
        let minted: Vec<RunId> = (0..70_000).map(|_| ids.mint()).collect();
        assert!(minted.is_sorted());
        assert!(minted.windows(2).all(|pair| pair[0] != pair[1]));
        assert!(minted.iter().all(|id| id.uuid().get_version_num() == 7));
        assert_eq!(minted[0], Ids::new(now, 7).mint());
        assert_ne!(minted[0], Ids::new(now, 8).mint());
    }

    #[test]
    fn the_id_of_a_reported_line_follows_from_run_and_line_alone() {
        let mut ids = Ids::new("2026-11-20T18:00:00Z".parse().unwrap(), 7);
        let runs: Vec<RunId> = (0..100).map(|_| ids.mint()).collect();
        let all = || runs.iter().flat_map(|run| (1..100).map(|line| UsageId::of(*run, line)));
        let distinct: std::collections::BTreeSet<UsageId> = all().collect();
        assert_eq!(distinct.len(), 100 * 99);
        assert!(all().eq(all()) && all().all(|id| id.uuid().get_version_num() == 7));
    }

    #[test]
    fn an_event_id_reads_back_with_and_without_its_prefix() {
        let id: EventId = Ids::new(Timestamp::UNIX_EPOCH, 1).mint();
        assert!(id.to_string().starts_with("evt_"));
        assert_eq!(id.to_string().parse::<EventId>().unwrap(), id);
        assert_eq!(id.uuid().to_string().parse::<EventId>().unwrap(), id);
    }

    #[test]
    fn garbage_is_refused_with_the_value_named() {
        let error = "not-an-id".parse::<RunId>().unwrap_err();
        assert!(error.to_string().contains("\"not-an-id\" as a run id"), "{error}");
    }
}
