//! What an import makes of a session that an earlier one brought, and that is told of again.

use crate::session::Session;

/// The session as it is stored from now on; none where nothing that is told of it is new.
///
/// How it ended, when it was active, what it took and from when its age counts are as told now. What
/// became of it here stays: its pin, a deletion, the sessions it is linked with. A usage that is not told
/// of any more stays too: the reports of it do.
pub fn regrown(before: &Session, told: &Session) -> Option<Session> {
    let grown = Session {
        state: told.state,
        active_at: told.active_at,
        usage: told.usage.or(before.usage),
        next: before.next.or(told.next),
        ..before.clone()
    };
    (grown != *before).then(|| Session {
        imported_at: told.imported_at,
        // The reaper looks at it once, and indexes it by the policies that hold.
        expires_at: told.expires_at,
        // The evidence of its end.
        origin: told.origin.clone(),
        ..grown
    })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::change::Version;
    use crate::id::{Ids, SessionId};
    use crate::key::SessionKind;
    use crate::origin::Origin;
    use crate::plan::fixtures::{owner, shared, time};
    use crate::session::{Discard, EndReason, OpenReason, State};
    use crate::usage::Tokens;

    /// A chat as an import tells of it.
    fn told(ended_at: Timestamp, reason: EndReason, imported_at: Timestamp) -> Session {
        let texts = ["openclaw", "s", "sessions.json", "key s"].map(str::to_owned);
        let [system, id, source, place] = texts;
        let data = serde_json::json!({ "ended_at": ended_at });
        Session {
            id: ids()[0],
            key: shared("telegram:direct:7"),
            kind: SessionKind::Chat,
            agent: "shell".parse().unwrap(),
            job: None,
            job_key: None,
            run: None,
            owner: owner(),
            previous: None,
            next: None,
            opened_at: time("09:00"),
            open_reason: OpenReason::Imported,
            state: State::Ended { at: ended_at, reason },
            entry_count: 0,
            bytes: 0,
            expires_at: Some(imported_at),
            hold: None,
            pinned: false,
            active_at: Some(ended_at),
            closing: None,
            discard: None,
            usage: Some(Tokens { input: ended_at.as_second() as u64, ..Tokens::default() }),
            origin: Some(Box::new(Origin { system, id, source, place, data })),
            imported_at: Some(imported_at),
            version: Version::NEW,
        }
    }

    fn ids() -> [SessionId; 3] {
        let mut ids = Ids::new(time("09:00"), 1);
        [ids.mint(), ids.mint(), ids.mint()]
    }

    /// As the store has it, some time after the import.
    fn kept(told: Session) -> Session {
        let [_, previous, next] = ids();
        Session {
            previous: Some(previous),
            next: Some(next),
            entry_count: 3,
            bytes: 30,
            expires_at: None,
            pinned: true,
            discard: Some(Discard::Archive),
            version: Version(4),
            ..told
        }
    }

    /// P6: what grew there is as young here as the import that brought the rest.
    #[test]
    fn a_session_that_went_on_there_ends_as_it_is_told_now_and_stays_what_it_became_here() {
        let before = kept(told(time("10:00"), EndReason::Restart, time("12:00")));
        let again = told(time("11:00"), EndReason::Interrupted, time("13:00"));
        let grown = regrown(&before, &again).unwrap();
        assert_eq!((grown.state, grown.active_at), (again.state, again.active_at));
        assert_eq!((grown.usage, &grown.origin), (again.usage, &again.origin));
        assert_eq!(grown.aged_from(), Some(time("13:00")));
        assert_eq!(grown.expires_at, Some(time("13:00")));
        let Session { state, active_at, usage, imported_at, expires_at, ref origin, .. } = grown;
        let origin = origin.clone();
        let rest = Session { state, active_at, usage, imported_at, expires_at, origin, ..before };
        assert_eq!(grown, rest);
        assert_eq!(
            regrown(&grown, &told(time("11:00"), EndReason::Interrupted, time("14:00"))),
            None
        );
    }

    #[test]
    fn each_news_is_reason_enough_and_a_later_import_alone_is_none() {
        let before = told(time("10:00"), EndReason::Restart, time("12:00"));
        let again = told(time("10:00"), EndReason::Restart, time("13:00"));
        assert_eq!(regrown(&before, &again), None);
        assert_eq!(regrown(&before, &Session { usage: None, ..again.clone() }), None);
        let other = told(time("10:30"), EndReason::Unknown, time("13:00"));
        let news = [
            Session { state: other.state, ..again.clone() },
            Session { active_at: other.active_at, ..again.clone() },
            Session { usage: other.usage, ..again.clone() },
            Session { next: Some(ids()[1]), ..again },
        ];
        for told in news {
            let grown = regrown(&before, &told).unwrap();
            assert_eq!(grown, told);
        }
    }
}
