//! Entropy: the one source of randomness, from which decisions get their ids.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sexton_domain::id::Ids;
use uuid::Uuid;

/// A seedable generator behind a lock.
pub struct Entropy(Mutex<Source>);

struct Source {
    rng: ChaCha8Rng,
    /// The time in the ids of the last decision.
    latest: Timestamp,
}

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entropy")
    }
}

impl Entropy {
    /// Seeded by the operating system.
    ///
    /// # Errors
    ///
    /// When the operating system has no randomness to give.
    pub fn from_os() -> Result<Self, getrandom::Error> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        Ok(Self::new(ChaCha8Rng::from_seed(seed)))
    }

    /// Everything that is drawn follows from `seed`.
    pub fn from_seed(seed: u64) -> Self {
        Self::new(ChaCha8Rng::seed_from_u64(seed))
    }

    fn new(rng: ChaCha8Rng) -> Self {
        Self(Mutex::new(Source { rng, latest: Timestamp::MIN }))
    }

    /// Fills a buffer, for secrets.
    pub fn fill(&self, bytes: &mut [u8]) {
        self.source().rng.fill_bytes(bytes);
    }

    /// The ids of one decision. They sort behind those of every decision before it, also where the wall clock
    /// was set back meanwhile: their time goes on by a step then.
    pub fn ids(&self, now: Timestamp) -> Ids {
        let mut source = self.source();
        let next = source.latest.checked_add(Ids::STEP).unwrap_or(now);
        source.latest = next.max(now);
        let mut seed = [0; 16];
        source.rng.fill_bytes(&mut seed);
        Ids::new(source.latest, u128::from_le_bytes(seed))
    }

    /// Has all further ids sort behind one that an earlier process minted.
    pub fn go_on_from(&self, id: Uuid) {
        let (seconds, nanos) = id.get_timestamp().map_or((0, 0), |at| at.to_unix());
        // What follows in that millisecond may sort before it.
        let next = i64::try_from(seconds * 1000 + u64::from(nanos / 1_000_000) + 1).ok();
        if let Some(at) = next.and_then(|ms| Timestamp::from_millisecond(ms).ok()) {
            let mut source = self.source();
            source.latest = source.latest.max(at);
        }
    }

    fn source(&self) -> MutexGuard<'_, Source> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use sexton_domain::id::SessionId;

    use super::*;

    /// The wall clock was set back. The session that had just ended behind a key was not the newest by its id
    /// any more: the next turn looked at an older one, and the conversation was lost.
    #[test]
    fn ids_sort_in_the_order_of_decisions_whatever_the_wall_clock_does() {
        let at = |text: &str| text.parse::<Timestamp>().expect("these times are valid");
        let times = ["10:00", "10:00", "18:00", "10:01", "10:02", "19:00"];
        let entropy = Entropy::from_seed(1);
        let mint = |entropy: &Entropy, time: &str| -> SessionId {
            entropy.ids(at(&format!("2027-01-15T{time}:00Z"))).mint()
        };
        let minted: Vec<SessionId> = times.iter().map(|time| mint(&entropy, time)).collect();
        assert!(minted.is_sorted(), "{minted:?}");
        // Ten seconds, fifty thousand decisions a second: the time in ids is that of the clock all the same.
        let hour = at("2027-01-15T20:00:00Z");
        let busy = (0..500_000).map(|n| hour + jiff::SignedDuration::from_micros(20 * n));
        let ids: Vec<SessionId> = busy.map(|now| entropy.ids(now).mint()).collect();
        assert!(ids.is_sorted());
        let last = ids[ids.len() - 1];
        let time = last.uuid().get_timestamp().expect("it has a time").to_unix();
        assert_eq!(time, (u64::try_from(hour.as_second()).expect("it is late") + 9, 999_000_000));
        let next_life = Entropy::from_seed(2);
        next_life.go_on_from(last.uuid());
        assert!(mint(&next_life, "10:03") > last);
    }
}
