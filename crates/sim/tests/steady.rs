//! A gateway that is left alone does not grow. The long version is `cargo xtask sim --days 30`.

use sexton_domain::duration::Duration;
use sexton_sim::steady::{Plan, grown, live};

const HOUR: Duration = Duration::from_secs(3600);

/// P6. Days last an hour here, so that periods pass quickly: sessions of runs are kept for one, archives,
/// events and dead letters for three, runs for nine. Acknowledged deliveries stay for a day, stubs of
/// archives and segments for thirty: those still come and do not go yet.
#[test]
fn rows_bytes_and_archives_are_flat_once_their_periods_have_passed_and_nothing_is_unexplained() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan {
        jobs: 4,
        every: Duration::from_secs(15 * 60),
        day: HOUR,
        looks: 56,
        pause: HOUR,
        folder: folder.path().to_owned(),
    };
    let mut samples = Vec::new();
    live(&plan, |sample| samples.push(sample)).unwrap();
    let (mut before, mut after) = (samples[35].clone(), samples[55].clone());
    assert!(after.runs > 800, "only {after}");
    for sample in [&mut before, &mut after] {
        assert!(sample.rows.remove("archive") > Some(500), "{sample}");
        sample.rows.remove("segment");
    }
    assert!(before.rows["session"] > 10 && before.archive_bytes > 0, "{before}");
    assert_eq!(grown(&before, &after), Vec::<String>::new(), "{before}\n{after}");
    assert!(samples.iter().all(|sample| sample.unexplained == 0));
}
