//! The usage ledger is a sum over immutable reports: nothing that happens to their rows, runs or sessions,
//! and no repetition, changes it.

#![expect(clippy::unwrap_used, reason = "test code: a panic is the verdict")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jiff::Timestamp;
use jiff::civil::Date;
use proptest::prelude::*;
use sexton_domain::change::{Change, Record, RecordId, Version};
use sexton_domain::id::{Ids, JobId, RunId, UsageId};
use sexton_domain::node::{Epoch, Owner};
use sexton_domain::plan::Moment;
use sexton_domain::plan::ending::{self, Ending, Snapshot};
use sexton_domain::run::{Outcome, Reason, Run, State};
use sexton_domain::session::Session;
use sexton_domain::usage::{DailyUsage, Spent, Tokens, Usage};
use sexton_store::Driver;
use sexton_store::conformance::specimens;
use sexton_store_sqlite::{Options, SqliteDriver};
use uuid::Uuid;

/// How many runs a case has.
const RUNS: usize = 6;

/// What happens to the store.
#[derive(Debug, Clone)]
enum Step {
    /// A run ends with what it reports.
    End(usize, Vec<(u8, Tokens)>),
    /// The commit of its end is sent again.
    Replay(usize),
    /// A report that is stored is saved again.
    SaveAgain(usize),
    /// The rows of a run's reports are deleted.
    DeleteReports(usize),
    /// The run is deleted.
    DeleteRun(usize),
    /// Its session is deleted.
    DeleteSession(usize),
    /// The gateway restarts.
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let run = 0..RUNS;
    let tokens = (0..1_000_u64, 0..1_000_u64, 0..1_000_u64, 0..10_000_000_u64).prop_map(
        |(input, output, cached, cost_micro_usd)| Tokens { input, output, cached, cost_micro_usd },
    );
    let reports = prop::collection::vec((0..4_u8, tokens), 0..6);
    prop_oneof![
        5 => (run.clone(), reports).prop_map(|(run, reports)| Step::End(run, reports)),
        3 => run.clone().prop_map(Step::Replay),
        3 => run.clone().prop_map(Step::SaveAgain),
        2 => run.clone().prop_map(Step::DeleteReports),
        1 => run.clone().prop_map(Step::DeleteRun),
        1 => run.prop_map(Step::DeleteSession),
        1 => Just(Step::Reopen),
    ]
}

type Sums = BTreeMap<(Date, Option<JobId>, String, String), (u64, Tokens)>;

/// A store, and what its ledger has to say.
struct Books {
    store: SqliteDriver,
    runs: Vec<(Run, Session)>,
    ends: BTreeMap<usize, Vec<Change>>,
    rows: BTreeMap<UsageId, Usage>,
    expected: Sums,
}

impl Books {
    async fn open(path: &Path) -> Self {
        let store = open(path);
        let mut runs = Vec::new();
        for n in 0..RUNS {
            let (run, session) = running(n);
            store.commit(vec![run.clone().into(), session.clone().into()]).await.unwrap();
            let version = Version::NEW.next();
            runs.push((Run { version, ..run }, Session { version, ..session }));
        }
        let (ends, rows, expected) = Default::default();
        Self { store, runs, ends, rows, expected }
    }

    async fn take(&mut self, step: Step, path: &Path) {
        match step {
            Step::End(n, reports) => self.end(n, reports).await,
            Step::Replay(n) => {
                if let Some(changes) = self.ends.get(&n) {
                    assert!(self.store.commit(changes.clone()).await.is_err());
                }
            }
            Step::SaveAgain(n) => {
                let run = self.runs[n].0.id;
                let rows = self.rows.values().filter(|row| row.run == run).cloned();
                let changed =
                    |row| Usage { tokens: Tokens::default(), model: "x".to_owned(), ..row };
                self.store.commit(rows.map(changed).map(Change::from).collect()).await.unwrap();
            }
            Step::DeleteReports(n) => {
                let run = self.runs[n].0.id;
                let ids: Vec<UsageId> =
                    self.rows.values().filter(|row| row.run == run).map(|row| row.id).collect();
                for id in ids {
                    self.rows.remove(&id);
                    self.delete(RecordId::Usage(id)).await;
                }
            }
            Step::DeleteRun(n) if self.ends.contains_key(&n) => {
                self.delete(RecordId::Run(self.runs[n].0.id)).await;
            }
            Step::DeleteSession(n) if self.ends.contains_key(&n) => {
                self.delete(RecordId::Session(self.runs[n].1.id)).await;
            }
            Step::DeleteRun(_) | Step::DeleteSession(_) => {}
            Step::Reopen => {
                self.store.close().await;
                self.store = open(path);
            }
        }
    }

    async fn end(&mut self, n: usize, reports: Vec<(u8, Tokens)>) {
        let (run, session) = &self.runs[n];
        if self.ends.contains_key(&n) {
            return;
        }
        let line = |(line, (model, tokens))| Spent { line, model: format!("m{model}"), tokens };
        let spent = (1..).zip(reports).map(line).collect();
        let ending = Ending { spent, ..Ending::plain(Outcome::Ok, Reason::Exit) };
        // Around midnight, so that runs end on two days.
        let at: Timestamp = "2027-01-15T23:59:57Z".parse().unwrap();
        let mut moment = Moment::new(at + jiff::SignedDuration::from_secs(n as i64), n as u128);
        let snapshot = Snapshot { run, session: Some(session), job: None, others: &[] };
        let changes = ending::end_run(snapshot, ending, &mut moment).unwrap().changes;
        self.store.commit(changes.clone()).await.unwrap();
        for change in &changes {
            if let Change::Put(Record::Usage(row)) = change {
                let day = jiff::tz::TimeZone::UTC.to_datetime(row.at).date();
                let key = (day, row.job, row.agent.to_string(), row.model.clone());
                let sum = self.expected.entry(key).or_default();
                *sum = (sum.0 + 1, sum.1.plus(row.tokens));
                assert!(self.rows.insert(row.id, row.clone()).is_none());
            }
        }
        self.ends.insert(n, changes);
    }

    /// Deletes a record if it is still there.
    async fn delete(&self, id: RecordId) {
        if let Some(record) = self.store.get(id.clone()).await.unwrap() {
            self.store.commit(vec![Change::Delete(id, record.version())]).await.unwrap();
        }
    }

    async fn ledger(&self) -> Sums {
        let days = self.store.daily_usage(Date::MIN).await.unwrap();
        let key = |sum: DailyUsage| {
            ((sum.day, sum.job, sum.agent.to_string(), sum.model), (sum.reports, sum.tokens))
        };
        days.into_iter().map(key).collect()
    }
}

fn open(path: &Path) -> SqliteDriver {
    let now = "2027-01-15T08:00:00Z".parse().unwrap();
    SqliteDriver::open(Options::new(path, Uuid::from_u128(1), now)).unwrap()
}

/// The n-th run, in its isolated session, of one of two jobs or of none.
fn running(n: usize) -> (Run, Session) {
    let (records, _) = specimens();
    let mut ids = Ids::new("2027-01-15T10:00:00Z".parse().unwrap(), 1000 + n as u128);
    let mut run = records
        .iter()
        .find_map(|record| match record {
            Record::Run(run) => Some((**run).clone()),
            _ => None,
        })
        .unwrap();
    let mut session = records
        .into_iter()
        .find_map(|record| match record {
            Record::Session(session) if session.is_open() => Some(*session),
            _ => None,
        })
        .unwrap();
    let owner = Owner { node: ids.mint(), epoch: Epoch::new(1, 1) };
    (run.id, session.id) = (ids.mint::<RunId>(), ids.mint());
    run.job = [None, Some(1), Some(2)][n % 3].map(|job| JobId::from(Uuid::from_u128(job)));
    run.slot = None;
    run.session = Some(session.id);
    run.session_key = format!("agent:a:cron:b:run:{n}").parse().unwrap();
    run.state = State::Running { owner, deadline: "2027-01-16T08:00:00Z".parse().unwrap() };
    (run.usage, run.error) = (None, None);
    session.key = run.session_key.clone();
    (session.run, session.job, session.owner) = (Some(run.id), run.job, owner);
    (run.version, session.version) = (Version::NEW, Version::NEW);
    (session.entry_count, session.bytes) = (0, 0);
    (run, session)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// P12.
    #[test]
    fn the_sums_of_the_ledger_are_those_of_what_was_reported(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("sexton.db");
            let mut books = Books::open(&path).await;
            for step in steps {
                books.take(step, &path).await;
                assert_eq!(books.ledger().await, books.expected);
            }
            let rows: BTreeSet<UsageId> = books.rows.keys().copied().collect();
            for id in rows {
                assert!(books.store.get(RecordId::Usage(id)).await.unwrap().is_some());
            }
        });
    }
}
