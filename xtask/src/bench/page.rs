//! The page of figures: a part of `docs/performance.md` that is drawn from the book alone. Goals first, so
//! that it is read in a minute.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use clap::ValueEnum as _;

use super::Name;
use super::book::{Book, Figure, Part};
use super::field;

/// Where the written part begins and ends.
const BEGIN: &str = "<!-- figures: written by `cargo xtask bench` -->";
const END: &str = "<!-- end of figures -->";

/// The plots: the part that they are drawn from, their files, and what they show.
const PLOTS: [(Name, &str, &str); 3] = [
    (
        Name::List,
        "flat-line",
        "an update, a list, a status and a claim by the number of sessions in the store",
    ),
    (
        Name::Fire,
        "lateness",
        "how late slots are by the number of jobs that are due in the same second",
    ),
    (Name::Store, "commits", "durable commits per second by the number of writers"),
];

/// Replaces the part of the page between the markers.
pub fn write(page: &Path, book: &Book) -> anyhow::Result<()> {
    let text = fs::read_to_string(page).with_context(|| format!("read {}", page.display()))?;
    fs::write(page, replaced(&text, book)?).with_context(|| format!("write {}", page.display()))
}

/// The page with what the book says.
pub fn replaced(text: &str, book: &Book) -> anyhow::Result<String> {
    let (before, rest) = text.split_once(BEGIN).context("find where the figures begin")?;
    let (_, after) = rest.split_once(END).context("find where the figures end")?;
    Ok(format!("{before}{BEGIN}\n\n{}\n{END}{after}", drawn(book)))
}

fn drawn(book: &Book) -> String {
    let parts: Vec<(Name, &Part)> = Name::value_variants()
        .iter()
        .filter_map(|name| Some((*name, book.0.get(&name.to_string())?)))
        .collect();
    let mut page = summary(&parts);
    for (name, file, what) in PLOTS {
        if !book.0.contains_key(&name.to_string()) {
            continue;
        }
        page += &format!("\n![{what}](plots/{file}.svg)\n");
    }
    for (name, part) in &parts {
        page += &section(*name, part);
    }
    page + &field::drawn(book)
}

/// Which goals are met, and which are not.
fn summary(parts: &[(Name, &Part)]) -> String {
    let figures =
        || parts.iter().flat_map(|(name, part)| part.figures.iter().map(move |it| (name, it)));
    let with_goals: Vec<_> =
        figures().filter_map(|(name, it)| Some((name, it, it.goal.as_ref()?))).collect();
    let met = with_goals.iter().filter(|(_, _, goal)| goal.is_met).count();
    let mut text = format!("**{met} of {} goals are met.**", with_goals.len());
    if met < with_goals.len() {
        text += " Not met:\n";
    }
    for (name, Figure { what, value, .. }, goal) in with_goals.iter().filter(|it| !it.2.is_met) {
        text += &format!("\n- {what} (`{name}`): {value}; the goal is {}", goal.text);
    }
    text + "\n"
}

fn section(name: Name, part: &Part) -> String {
    let mut text = format!("\n### {}\n\n", name.title());
    text += "| what | measured | goal | met | conditions |\n|---|---|---|---|---|\n";
    for Figure { what, value, goal, conditions, .. } in &part.figures {
        let (goal, met) = match goal {
            Some(goal) => (goal.text.as_str(), if goal.is_met { "yes" } else { "no" }),
            None => ("", ""),
        };
        text += &format!("| {what} | {value} | {goal} | {met} | {conditions} |\n");
    }
    text += &format!("\n`cargo xtask bench {name}`; {}\n", part.conditions.join("; "));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway;

    fn book() -> Book {
        let figure = |what: &str| Figure::new(what, "1 ms", "a quiet machine");
        let part = Part {
            conditions: vec!["disk: fast".to_owned()],
            figures: vec![
                figure("good").goal("<= 2 ms", true),
                figure("bad").goal("<= 0 ms", false),
            ],
            ..Part::default()
        };
        let mut book = Book::default();
        book.0.insert(Name::Store.to_string(), part.clone());
        book.0.insert(Name::Idle.to_string(), Part { figures: vec![figure("alone")], ..part });
        book
    }

    #[test]
    fn a_page_begins_with_the_goals_that_are_not_met() {
        let text = format!("before\n{BEGIN}\nwhat stood there\n{END}\nafter\n");
        let page = replaced(&text, &book()).unwrap();
        assert!(page.starts_with("before\n") && page.ends_with("after\n"), "{page}");
        assert!(
            page.contains("**1 of 2 goals are met.** Not met:\n\n- bad (`store`): 1 ms"),
            "{page}"
        );
        assert!(page.contains("| alone | 1 ms |  |  | a quiet machine |"), "{page}");
        assert!(!page.contains("what stood there"));
    }

    /// A run that measured some parts only once left the page as it was: nothing could be measured
    /// again without measuring everything.
    #[test]
    fn a_part_that_is_measured_again_leaves_the_others_as_they_are() {
        let mut book = book();
        let before = book.clone();
        let again = Part { figures: vec![Figure::new("new", "2 ms", "")], ..Part::default() };
        book.0.insert(Name::Idle.to_string(), again);
        let page = replaced(&format!("{BEGIN}{END}"), &book).unwrap();
        assert!(page.contains("| new | 2 ms |") && !page.contains("alone"), "{page}");
        assert!(page.contains(&section(Name::Store, &before.0["store"])), "{page}");
    }

    /// What is checked in is what the book says, and nothing that somebody wrote by hand.
    #[test]
    fn the_page_is_drawn_from_the_book() {
        let page = fs::read_to_string(gateway::root().join("docs/performance.md")).unwrap();
        let book = Book::read(&Book::path()).unwrap();
        assert_eq!(replaced(&page, &book).unwrap(), page, "draw it: cargo xtask bench --draw");
    }
}
