//! Faults of the database: what was acknowledged is stored, what was refused is not, and the store
//! goes on.

use sexton_domain::change::Change;

use super::make::append;
use super::{Fault, World};
use crate::driver::{CommitError, Error};
use crate::ticket::answers;

/// P7, P10: a full disk or an I/O error takes the whole transaction of the database with it, not the
/// batches of others.
pub async fn a_rolled_back_transaction_fails_one_batch_and_stores_the_others(world: World) {
    let session = world.make.session("agent:main:main");
    world.put(session.clone()).await;
    for struck in 0..4 {
        let jobs: Vec<_> = (0..4).map(|n| world.make.job(&format!("job-{struck}-{n}"))).collect();
        let mut group = Vec::new();
        for job in &jobs {
            group.push(vec![Change::from(job.clone()), world.make.event().into()]);
        }
        world.break_next(Fault::RollBack { after: struck });
        let answers = answers(world.driver().claim(group)).await;
        for (index, (answer, job)) in (0..).zip(answers.into_iter().zip(jobs)) {
            let failed = matches!(answer, Err(CommitError::Failed(Error::Unavailable { .. })));
            assert_eq!(failed, index == struck, "batch {index} of a group struck at {struck}");
            assert!(failed || answer.is_ok(), "{answer:?}");
            assert_eq!(world.stored(job).await.is_none(), failed);
        }
    }
    assert_eq!(world.driver().events(0, 100).await.unwrap().len(), 12);
    assert_eq!(world.driver().tally().await.unwrap().jobs, 12);
    world.store(vec![append(&session, 1, &["the store goes on"])]).await;
}

/// P7: a COMMIT that fails acknowledges none of the batches it was for.
pub async fn a_refused_commit_acknowledges_nothing_and_stores_nothing(world: World) {
    let jobs: Vec<_> = (0..3).map(|n| world.make.job(&format!("job-{n}"))).collect();
    let group: Vec<Vec<Change>> = jobs.iter().map(|job| vec![job.clone().into()]).collect();
    world.break_next(Fault::Refuse);
    for answer in answers(world.driver().claim(group.clone())).await {
        assert!(
            matches!(answer, Err(CommitError::Failed(Error::Unavailable { .. }))),
            "{answer:?}"
        );
    }
    for job in &jobs {
        assert_eq!(world.stored(job.clone()).await, None);
    }
    for answer in answers(world.driver().claim(group)).await {
        answer.unwrap();
    }
}

/// P7: an answer that was lost is resolved by reading again.
pub async fn a_lost_answer_is_found_by_reading_again(world: World) {
    let job = world.make.job("job");
    world.break_next(Fault::LoseAnswer);
    let answer = world.driver().commit(vec![job.clone().into()]).await;
    assert_eq!(answer, Err(CommitError::AnswerLost));
    assert!(world.stored(job).await.is_some());
    let other = world.make.job("other");
    world.put(other.clone()).await;
    assert!(world.stored(other).await.is_some());
}

/// P7: what the store said it did not keep is not there after a crash either.
pub async fn an_unacknowledged_batch_does_not_come_back_after_a_crash(mut world: World) {
    let (kept, refused) = (world.make.job("kept"), world.make.job("refused"));
    world.put(kept.clone()).await;
    world.break_next(Fault::Refuse);
    world.fail(vec![refused.clone().into()]).await;
    world.crash().await;
    assert!(world.stored(kept).await.is_some());
    assert_eq!(world.stored(refused).await, None);
}
