//! Tests of images: a trace in, images out.

use super::super::disk::Blind;
use super::super::trace::Call;
use super::*;

const FOLDER: u64 = 1;
const FILE: u64 = 2;

fn root() -> Call {
    Call::Root { inode: FOLDER, pid: 1 }
}

fn create(inode: u64, name: &str) -> Call {
    Call::Create { inode, name: name.to_owned() }
}

fn write(at: u64, bytes: &[u8]) -> Call {
    Call::Write { inode: FILE, at, bytes: bytes.to_vec() }
}

fn sync(inode: u64, id: u64, name: &str) -> [Call; 2] {
    [Call::Begin { inode, id, name: name.to_owned() }, Call::End { inode, id }]
}

fn moved(from: &str, to: &str) -> Call {
    Call::Rename { inode: FILE, from: from.to_owned(), to: to.to_owned() }
}

/// Two hundred images of each kind at the end of a trace.
fn images(calls: &[Call], blind: Option<Blind>) -> BTreeMap<Kind, Vec<Image>> {
    let mut disk = Disk::new(blind);
    calls.iter().for_each(|call| disk.apply(call).unwrap());
    let draw = |kind| {
        let image = |seed| Image::draw(&disk, kind, &mut Dice(seed));
        (kind, (0..200).map(image).collect())
    };
    Kind::ALL.map(draw).into()
}

fn all(images: &BTreeMap<Kind, Vec<Image>>) -> impl Iterator<Item = &Image> {
    images.values().flatten()
}

fn bytes(image: &Image, name: &str) -> Option<Vec<u8>> {
    let content = image.files.get(name)?;
    let mut bytes = content.bytes.clone();
    bytes.resize(content.length as usize, 0);
    Some(bytes)
}

/// P7
#[test]
fn what_the_disk_was_waited_for_is_in_every_image() {
    let mut calls = vec![root(), create(FILE, "log"), write(0, b"one"), write(3, b"two")];
    calls.extend(sync(FILE, 1, "log"));
    calls.extend(sync(FOLDER, 2, ""));
    assert!(all(&images(&calls, None)).all(|image| bytes(image, "log").unwrap() == b"onetwo"));
}

#[test]
fn a_wait_that_has_not_ended_has_no_effect_and_one_that_has_none_on_what_came_meanwhile() {
    let mut calls = vec![root(), create(FILE, "log")];
    calls.extend(sync(FOLDER, 1, ""));
    let [begin, end] = sync(FILE, 2, "log");
    calls.extend([write(0, b"one"), begin, write(3, b"two")]);
    let nothing = images(&calls, None)[&Kind::Nothing][0].clone();
    assert_eq!(bytes(&nothing, "log").unwrap(), b"");
    calls.push(end);
    let nothing = images(&calls, None)[&Kind::Nothing][0].clone();
    assert_eq!(bytes(&nothing, "log").unwrap(), b"one");
}

#[test]
fn what_was_not_waited_for_is_there_or_not_in_any_combination() {
    let mut calls = vec![root(), create(FILE, "log")];
    calls.extend(sync(FOLDER, 1, ""));
    calls.extend([write(0, &[1; 512]), write(512, &[2; 512]), write(1024, &[3; 512])]);
    let images = images(&calls, None);
    let seen = |kind: Kind| {
        let marks = images[&kind].iter().map(|image| {
            let bytes = bytes(image, "log").unwrap();
            [0, 512, 1024].map(|at| bytes.get(at).is_some_and(|byte| *byte == 1 + (at / 512) as u8))
        });
        marks.collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(seen(Kind::Everything), [[true, true, true]].into());
    assert_eq!(seen(Kind::Nothing), [[false, false, false]].into());
    assert_eq!(seen(Kind::InOrder).len(), 4, "every beginning");
    assert_eq!(seen(Kind::AnyOrder).len(), 8, "every subset");
}

/// Sectors are kept or not by themselves, one of them is cut anywhere, and what was never written is
/// zeros or anything.
#[test]
fn a_write_is_torn_at_sectors_and_one_of_them_within() {
    let mut calls = vec![root(), create(FILE, "log"), write(0, &[1; 1100])];
    calls.extend(sync(FILE, 1, "log"));
    calls.extend(sync(FOLDER, 2, ""));
    calls.push(write(100, &[2; 1100]));
    let images = images(&calls, None);
    let torn: Vec<Vec<u8>> =
        images[&Kind::Torn].iter().map(|image| bytes(image, "log").unwrap()).collect();
    assert!(torn.iter().all(|it| it[..100] == [1; 100]), "what is beside a write is not touched");
    let whole = |it: &[u8], from: usize, to: usize| it[from..to].windows(2).all(|w| w[0] == w[1]);
    let broken = |it: &Vec<u8>| {
        let borders = [(100, 512), (512, 1024), (1024, 1100)];
        borders.iter().filter(|(from, to)| !whole(it, *from, *to)).count()
    };
    assert!(torn.iter().all(|it| broken(it) <= 1), "at most one sector is broken within");
    assert!(torn.iter().any(|it| broken(it) == 1), "some are");
    assert!(torn.iter().any(|it| it[100] == 1 && it[600] == 2), "a later one without an earlier");
    assert!(torn.iter().any(|it| it.len() == 1100), "the length has not changed");
    let tails = |byte| {
        torn.iter().any(|it| it.len() > 1100 && it[1100..] != [byte; 100][..it.len() - 1100])
    };
    assert!(tails(2), "longer without the bytes");
}

#[test]
fn a_name_is_there_for_sure_when_its_folder_was_waited_for() {
    let mut calls = vec![root(), create(FILE, "new"), write(0, b"one")];
    calls.extend(sync(FILE, 1, "new"));
    let some = images(&calls, None);
    assert!(
        all(&some).any(|image| image.files.is_empty()),
        "the file alone does not keep its name"
    );
    assert!(all(&some).any(|image| bytes(image, "new").is_some_and(|it| it == b"one")));
    calls.push(moved("new", "name"));
    let some = images(&calls, None);
    assert!(all(&some).all(|image| image.files.len() <= 1), "a rename is never half there");
    assert!(some[&Kind::NamesLast].iter().any(|image| image.files.contains_key("new")));
    assert!(some[&Kind::NamesLast].iter().any(|image| image.files.contains_key("name")));
    calls.extend(sync(FOLDER, 2, ""));
    assert!(all(&images(&calls, None)).all(|image| bytes(image, "name").unwrap() == b"one"));
    calls.push(Call::Unlink { inode: FILE, name: "name".to_owned() });
    let some = images(&calls, None);
    assert!(all(&some).any(|image| image.files.is_empty()));
    assert!(all(&some).any(|image| image.files.contains_key("name")));
}

#[test]
fn what_is_in_a_folder_that_is_not_there_is_not_there() {
    let mut calls = vec![root(), Call::Folder { inode: 5, name: "data".to_owned() }];
    calls.extend([create(FILE, "data/store"), write(0, b"one")]);
    calls.extend(sync(FILE, 1, "data/store"));
    calls.extend(sync(5, 2, "data"));
    let some = images(&calls, None);
    assert!(some[&Kind::Nothing].iter().all(|image| image.folders.is_empty()));
    assert!(all(&some).all(|image| image.folders.len() == image.files.len()));
    calls.extend(sync(FOLDER, 3, ""));
    assert!(all(&images(&calls, None)).all(|image| bytes(image, "data/store").unwrap() == b"one"));
}

#[test]
fn an_inode_that_is_used_again_is_another_file() {
    let mut calls = vec![root(), create(FILE, "old"), write(0, b"one")];
    calls.extend(sync(FILE, 1, "old"));
    calls.extend(sync(FOLDER, 2, ""));
    calls.push(Call::Unlink { inode: FILE, name: "old".to_owned() });
    calls.extend([create(FILE, "new"), write(0, b"two")]);
    let some = images(&calls, None);
    assert!(all(&some).all(|image| bytes(image, "old").is_none_or(|it| it == b"one")));
    let everything = &some[&Kind::Everything][0];
    assert_eq!(bytes(everything, "new").unwrap(), b"two");
    assert!(all(&some).any(|image| image.files.len() == 2), "the old one is still there");
}

/// The waits that a test takes away are those that it names.
#[test]
fn a_blind_disk_takes_away_some_waits_and_no_others() {
    let mut calls = vec![root(), create(FILE, "store-wal"), write(0, b"one")];
    calls.extend(sync(FILE, 1, "store-wal"));
    calls.extend(sync(FOLDER, 2, ""));
    let is_whole = |blind| {
        all(&images(&calls, blind))
            .all(|image| bytes(image, "store-wal").is_some_and(|it| it == b"one"))
    };
    assert!(is_whole(None) && is_whole(Some(Blind::Archives)));
    assert!(!is_whole(Some(Blind::Log)) && !is_whole(Some(Blind::Folders)));
}

#[test]
fn one_seed_draws_one_image() {
    let mut calls = vec![root(), create(FILE, "log"), write(0, &[7; 5000])];
    calls.extend(sync(FOLDER, 1, ""));
    let (one, other) = (images(&calls, None), images(&calls, None));
    assert_eq!(one, other);
}
