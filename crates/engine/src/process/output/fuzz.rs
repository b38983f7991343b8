//! Whatever an agent writes, and however it arrives.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use sexton_domain::entry::Role;
use sexton_domain::run::{MAX_OUTPUT_BYTES, MAX_STDERR_BYTES};
use sexton_fuzz::budget;
use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::pipe;

use super::Lines;
use super::tests::lines;
use crate::output::Output;

/// What readers of lines stumble over.
const ODD: &[&[u8]] = &[
    b"\n",
    b"\r\n",
    b"\n\n",
    b"\0",
    b"\0\n",
    b"\xff\xfe",
    b"\xc3",
    b"\xa9",
    b"\xf0\x9f",
    b"\xed\xa0\x80",
    "é".as_bytes(),
    "\u{1f4a9}".as_bytes(),
    b"{\"usage\": ",
    b"\x1b[31m",
    b"word",
];

/// Bytes as programs write them: lines, pieces of them, NUL, what is no UTF-8, lines without an end.
fn written() -> impl Strategy<Value = Vec<u8>> {
    let long = (select(vec!["a", "é", "漢", "\u{1f980}"]), 1..60_000_usize);
    let piece = prop_oneof![
        12 => select(ODD).prop_map(<[u8]>::to_vec),
        4 => vec(any::<u8>(), 0..40),
        1 => long.prop_map(|(piece, times)| piece.repeat(times).into_bytes()),
    ];
    vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// Lets it arrive through a pipe in pieces of so many bytes.
async fn arriving(bytes: Vec<u8>, piece: usize, limit: usize) -> Vec<String> {
    let (mut writer, reader) = pipe::pipe().unwrap();
    let writing = tokio::spawn(async move {
        for piece in bytes.chunks(piece) {
            writer.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    let mut lines = Lines::new(reader, limit);
    let mut found = Vec::new();
    loop {
        while let Some(line) = lines.pop() {
            found.push(line);
        }
        if matches!(lines.source, super::Source::Closed) {
            break;
        }
        lines.fill().await;
        // What is held back is less than a line and what one read brings.
        assert!(lines.buffer.len() <= limit + 3 * super::READ_BYTES, "{}", lines.buffer.len());
    }
    writing.await.unwrap();
    found
}

proptest! {
    #![proptest_config(budget(120))]

    // P10: an agent's output is cut into lines within bounds, the same however it arrives.
    #[test]
    fn what_an_agent_writes_becomes_the_same_bounded_lines_however_it_arrives(
        bytes in written(), piece in prop_oneof![1..20_usize, 1..100_000_usize],
        limit in prop_oneof![4..64_usize, 4..70_000_usize],
    ) {
        let piece = piece.max(bytes.len() / 500);
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().unwrap();
        let found = runtime.block_on(arriving(bytes.clone(), piece, limit));
        prop_assert_eq!(&found, &lines(&bytes, limit));
        // A byte that is no UTF-8 becomes a character of three.
        prop_assert!(found.iter().all(|line| line.len() <= 3 * limit && !line.contains('\n')));
        if let Ok(text) = std::str::from_utf8(&bytes) {
            prop_assert!(found.iter().all(|line| line.len() <= limit));
            prop_assert_eq!(found.concat(), text.replace('\n', ""));
        }
        let breaks = bytes.iter().filter(|byte| **byte == b'\n').count();
        prop_assert!(found.len() >= breaks);
    }

    // P10: what a run keeps of its output is bounded, and what it does not keep is said once.
    #[test]
    fn what_is_kept_of_an_output_is_bounded_and_what_is_dropped_is_said_once(
        bytes in written(), limit_bytes in prop_oneof![0..200_u64, 0..300_000_u64],
    ) {
        let mut output = Output::new(limit_bytes);
        let (mut kept, mut marks, mut all) = (0, 0, 0);
        for line in lines(&bytes, 4_096) {
            all += line.len() as u64 + 1;
            output.take_stderr(&line);
            match output.take(line) {
                Some(entry) if entry.role == Role::Assistant => kept += entry.text.len() as u64 + 1,
                Some(_) => marks += 1,
                None => {}
            }
        }
        prop_assert!(kept <= limit_bytes);
        prop_assert_eq!(marks, u64::from(all > limit_bytes));
        prop_assert!(all > limit_bytes || kept == all);
        let (answer, stderr) = output.finish();
        prop_assert!(answer.is_none_or(|answer| answer.len() <= MAX_OUTPUT_BYTES));
        prop_assert!(stderr.is_none_or(|stderr| stderr.len() <= MAX_STDERR_BYTES));
    }
}
