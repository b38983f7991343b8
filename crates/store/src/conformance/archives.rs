//! Archives, the segments they lie in, and alerts: what is listed as a whole.

use serde_json::json;
use sexton_domain::alert::{Alert, AlertCode};
use sexton_domain::archive::Archive;
use sexton_domain::change::Change;
use sexton_domain::receipt::ReceiptPart;

use super::World;
use super::make::at;
use crate::page::PageRequest;

/// P6: all of them, those of which a stub is left too.
pub async fn segments_are_listed_completely_by_name(world: World) {
    let mut segments =
        ["2027-01-16", "2027-01-14", "2027-01-15"].map(|day| world.make.segment(day));
    segments[1].deleted_at = Some(at(7));
    world.store(segments.iter().cloned().map(Change::from).collect()).await;
    let listed = world.driver().segments().await.unwrap();
    let names: Vec<&str> = listed.iter().map(|segment| segment.name.as_str()).collect();
    assert_eq!(names, ["2027-01-14", "2027-01-15", "2027-01-16"]);
    assert_eq!(listed[0].deleted_at, Some(at(7)));
}

/// P6: a segment is read and deleted frame by frame.
pub async fn archives_of_a_segment_come_in_the_order_of_their_offsets(world: World) {
    let archive = |segment: &str, offset| Archive {
        segment: segment.to_owned(),
        offset,
        ..world.make.archive()
    };
    let stored = [archive("a", 900), archive("a", 0), archive("b", 0), archive("a", 30)];
    world.store(stored.iter().cloned().map(Change::from).collect()).await;
    let offsets = async |segment: &str, after, limit| -> Vec<u64> {
        let found = world.driver().archives_in(segment.to_owned(), after, limit).await.unwrap();
        found.iter().map(|archive| archive.offset).collect()
    };
    assert_eq!(offsets("a", None, 9).await, [0, 30, 900]);
    assert_eq!(offsets("a", None, 2).await, [0, 30]);
    assert_eq!(offsets("a", Some(30), 2).await, [900]);
    assert!(offsets("b", Some(0), 2).await.is_empty());
}

/// P8: newest session first, a page at a time.
pub async fn archives_are_listed_newest_session_first(world: World) {
    let stored: Vec<Archive> = (0..23).map(|_| world.make.archive()).collect();
    world.store(stored.iter().cloned().map(Change::from).collect()).await;
    let (mut found, mut page) = (Vec::new(), PageRequest::first(4));
    loop {
        let answer = world.driver().archives(page).await.unwrap();
        found.extend(answer.items.into_iter().map(|archive| archive.session));
        match answer.next {
            Some(next) => page.after = Some(next),
            None => break,
        }
    }
    assert_eq!(found, stored.iter().rev().map(|archive| archive.session).collect::<Vec<_>>());
}

/// A receipt is what its parts say in the order in which they were stored.
pub async fn parts_of_a_receipt_come_in_the_order_of_their_ids(world: World) {
    let stored: Vec<_> = (0..5).map(|nth| world.make.receipt_part(json!({ "nth": nth }))).collect();
    world.store(stored.iter().rev().cloned().map(Change::from).collect()).await;
    let mut found = Vec::new();
    loop {
        let after = found.last().map(|part: &ReceiptPart| part.id);
        let page = world.driver().receipt_parts(after, 2).await.unwrap();
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= 2);
        found.extend(page);
    }
    let accounts = |parts: &[ReceiptPart]| -> Vec<_> {
        parts.iter().map(|part| part.account.clone()).collect()
    };
    assert_eq!(accounts(&found), accounts(&stored));
}

/// What needs a look now comes first.
pub async fn alerts_come_active_first_and_each_newest_first(world: World) {
    let alert = |about: &str, raised, cleared: Option<i64>| Alert {
        raised_at: at(raised),
        cleared_at: cleared.map(at),
        ..world.make.alert(AlertCode::DeadLetters, about)
    };
    let stored = [
        alert("a", 10, None),
        alert("b", 30, None),
        alert("c", 20, None),
        alert("d", 1, Some(40)),
        alert("e", 2, Some(60)),
        alert("f", 3, Some(50)),
    ];
    world.store(stored.iter().cloned().map(Change::from).collect()).await;
    let about = async |limit| -> String {
        let alerts = world.driver().alerts(limit).await.unwrap();
        alerts.into_iter().map(|alert| alert.key.about).collect()
    };
    assert_eq!(about(99).await, "bcaefd");
    assert_eq!(about(4).await, "bcae");
    assert_eq!(about(2).await, "bc");
    assert_eq!(about(0).await, "");
}
