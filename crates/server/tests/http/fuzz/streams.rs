//! Readers of the event log that come and go at any place, with any place in mind.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use sexton_fuzz::{budget, text};
use sexton_server::api::{Code, Event, Gap, Problem};

use super::block_on;
use crate::client::{Request, Stream};
use crate::world::{PATIENCE, World};

/// One connection of a reader that resumes.
#[derive(Debug, Clone)]
struct Visit {
    /// How many events happen before it comes.
    emitted: usize,
    /// How many it reads before it goes, if there are as many.
    read: usize,
    /// How it says where it was.
    way: Way,
    /// A place that somebody else asks for meanwhile.
    stray: String,
}

#[derive(Debug, Clone, Copy)]
enum Way {
    Header,
    Parameter,
    BareHeader,
    BareParameter,
}

fn visit() -> impl Strategy<Value = Visit> {
    let ways = vec![Way::Header, Way::Parameter, Way::BareHeader, Way::BareParameter];
    let place = select(vec!["1-1", "0", "1-0", "0-0", "17", "1-17", "2-1", "18446744073709551615"]);
    let stray = text::near(place.prop_map(str::to_owned));
    (0..30_usize, 0..60_usize, select(ways), stray).prop_map(|(emitted, read, way, stray)| {
        // What HTTP would trim or refuse is no place, and never arrives.
        let stray = stray.chars().filter(|c| ('!'..='~').contains(c)).collect();
        Visit { emitted, read, way, stray }
    })
}

impl Way {
    fn resume(self, world: &World, id: &str) -> Request {
        let bare = id.rsplit('-').next().unwrap();
        match self {
            Self::Header => world.call("GET", "/v1/events").header("last-event-id", id),
            Self::BareHeader => world.call("GET", "/v1/events").header("last-event-id", bare),
            Self::Parameter => world.call("GET", &format!("/v1/events?after={id}")),
            Self::BareParameter => world.call("GET", &format!("/v1/events?after={bare}")),
        }
    }
}

async fn next(stream: &mut Stream) -> Result<(String, Event), TestCaseError> {
    let message = tokio::time::timeout(PATIENCE, stream.next()).await;
    let message = message.ok().flatten().ok_or_else(|| TestCaseError::fail("the stream ends"))?;
    Ok((message.id.clone(), message.data()))
}

/// A place as the rule has it: a number, or a generation and a number.
fn place(text: &str) -> Option<(Option<u32>, u64)> {
    let number = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok())?
    };
    match text.split_once('-') {
        None => number(text).map(|seq| (None, seq)),
        Some((generation, seq)) => {
            Some((Some(u32::try_from(number(generation)?).ok()?), number(seq)?))
        }
    }
}

/// Whoever comes with any place at all is refused with a reason, or begins right behind it.
async fn stray(world: &World, text: &str) -> Result<(), TestCaseError> {
    if text.is_empty() {
        return Ok(());
    }
    let newest = world.handle.event_range().await.unwrap().unwrap().1;
    let request = world.call("GET", "/v1/events").header("last-event-id", text);
    let (code, first) = match place(text) {
        None => (Some(Code::InvalidHeader), 0),
        Some((Some(generation), _)) if generation > 1 => (Some(Code::InvalidCursor), 0),
        Some((Some(0), _)) => (None, 1),
        Some((_, seq)) if seq > newest => (Some(Code::InvalidCursor), 0),
        Some((_, seq)) => (None, seq + 1),
    };
    if let Some(code) = code {
        let problem: Problem = request.send().await.problem(code);
        prop_assert!(problem.field.is_some() && !problem.detail.is_empty(), "{:?}", problem);
        return Ok(());
    }
    let mut stream = request.follow().await;
    if matches!(place(text), Some((Some(0), _))) {
        let gap = stream.next().await.ok_or_else(|| TestCaseError::fail("no gap is told"))?;
        prop_assert!(gap.data::<Gap>().restored);
    }
    if first <= newest {
        prop_assert_eq!(next(&mut stream).await?.1.seq, first, "{:?}", text);
    }
    Ok(())
}

async fn follow(visits: Vec<Visit>) -> Result<(), TestCaseError> {
    let world = World::new().await;
    let (mut id, mut last) = ("0".to_owned(), 0);
    for visit in visits {
        world.emit(visit.emitted).await;
        stray(&world, &visit.stray).await?;
        let newest = world.handle.event_range().await.unwrap().unwrap().1;
        let mut stream = visit.way.resume(&world, &id).follow().await;
        for _ in 0..visit.read.min(usize::try_from(newest - last).unwrap()) {
            let (place, event) = next(&mut stream).await?;
            prop_assert_eq!(event.seq, last + 1);
            (id, last) = (place, event.seq);
        }
    }
    // And whoever stays sees the rest.
    let newest = world.handle.event_range().await.unwrap().unwrap().1;
    let mut stream = Way::Header.resume(&world, &id).follow().await;
    while last < newest {
        let (_, event) = next(&mut stream).await?;
        prop_assert_eq!(event.seq, last + 1);
        last = event.seq;
    }
    world.stop().await;
    Ok(())
}

proptest! {
    #![proptest_config(budget(8))]

    // P3: over all its connections a reader sees every event, once, in order.
    #[test]
    fn a_reader_that_comes_and_goes_sees_every_event_once_and_in_order(
        visits in vec(visit(), 1..12),
    ) {
        block_on(follow(visits))?;
    }
}
