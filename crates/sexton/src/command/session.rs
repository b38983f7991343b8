//! `session …`

use std::time::Duration;

use sexton_domain::entry::Role;
use sexton_domain::id::SessionId;
use sexton_domain::session::Discard;
use sexton_server::api::{Archive, Entry, Page, Session};

use crate::args;
use crate::args::list;
use crate::client::{Ask, Client, encoded};
use crate::clock::{Pace, now};
use crate::command::origin::origin;
use crate::command::page;
use crate::command::usage::spent;
use crate::failure::{Exit, Failure};
use crate::output::{Output, bytes, instant, relative, rough_ms, word};

/// How often a session that is followed is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How many entries are asked for at once.
const ENTRIES: u32 = 500;

/// Runs `session …`.
pub async fn main(
    command: args::Session,
    client: &mut Client,
    output: Output,
) -> Result<Exit, Failure> {
    match command {
        args::Session::List(filter) => list(filter, client, output).await?,
        args::Session::Show { id } => show(&id, client, output).await?,
        args::Session::Transcript { id, follow: false, after } => {
            transcript(&path(&id), after, client, output).await?;
        }
        args::Session::Transcript { id, follow: true, after } => {
            follow(&id, after, client, output).await?;
        }
        args::Session::End { id } => close(&id, "end", client, output).await?,
        args::Session::Reset { id } => close(&id, "reset", client, output).await?,
        args::Session::Pin { id } => pin(&id, "pin", client, output).await?,
        args::Session::Unpin { id } => pin(&id, "unpin", client, output).await?,
        args::Session::Delete { id, purge } => delete(&id, purge, client, output).await?,
    }
    Ok(Exit::Ok)
}

fn path(id: &str) -> String {
    format!("/v1/sessions/{}", encoded(id))
}

async fn list(filter: list::Sessions, client: &mut Client, output: Output) -> Result<(), Failure> {
    let open = match (filter.open, filter.ended) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    };
    let ask = Ask::get("/v1/sessions")
        .with("key", filter.key)
        .with("kind", filter.kind.map(list::Kind::word))
        .with("agent", filter.agent)
        .with("job", filter.job)
        .with("open", open)
        .with("reason", filter.reason)
        .with("since", page::since(filter.since.as_deref())?)
        .with("limit", Some(filter.page.limit))
        .with("cursor", filter.page.cursor);
    let answer = client.ask(ask).await?;
    if output.json {
        return output.document(&page::document(&answer));
    }
    let sessions: Page<Session> = answer.read()?;
    let now = now();
    let row = |session: &Session| {
        vec![
            session.id.to_string(),
            word(&session.kind),
            session.key.to_string(),
            standing(session),
            relative(session.opened_at, now),
            rough_ms(session.duration_ms),
            session.entry_count.to_string(),
        ]
    };
    let header = ["session", "kind", "key", "state", "opened", "took", "entries"];
    let none = match filter.kind {
        None => "no sessions; those of isolated runs are shown with --kind run or all",
        Some(_) => "no sessions",
    };
    output.table(&header, sessions.items.iter().map(row).collect(), none)?;
    page::more(output, sessions.next.as_deref());
    Ok(())
}

/// The reason of its end, or that it is open.
fn standing(session: &Session) -> String {
    session.reason.map_or_else(|| "open".to_owned(), |reason| word(&reason))
}

async fn show(id: &str, client: &mut Client, output: Output) -> Result<(), Failure> {
    let answer = client.ask(Ask::get(path(id))).await?;
    if output.json {
        return output.document(&answer.0);
    }
    let (session, now): (Session, _) = (answer.read()?, now());
    let text = |value: Option<String>| value.unwrap_or_default();
    let hold = session.hold.as_ref();
    // No node kept one that was imported.
    let owner = match session.imported_at {
        Some(_) => String::new(),
        None => format!("node {}, epoch {}", session.owner.node_id, session.owner.epoch),
    };
    output.fields(&[
        ("session", session.id.to_string()),
        ("key", session.key.to_string()),
        ("kind", word(&session.kind)),
        ("agent", session.agent.to_string()),
        ("job", text(session.job_key.as_ref().map(ToString::to_string))),
        ("run", text(session.run_id.map(|id| id.to_string()))),
        ("previous", text(session.previous_session_id.map(|id| id.to_string()))),
        ("state", standing(&session)),
        ("closing", text(session.closing.map(|reason| word(&reason)))),
        ("opened", format!("{}, {}", instant(session.opened_at, now), word(&session.open_reason))),
        ("last turn", text(session.active_at.map(|at| instant(at, now)))),
        ("ended", text(session.ended_at.map(|at| instant(at, now)))),
        ("took", text(session.duration_ms.map(|_| rough_ms(session.duration_ms)))),
        ("entries", format!("{} of {}", session.entry_count, bytes(session.bytes))),
        ("usage", text(session.usage.as_ref().map(spent))),
        ("next look", text(session.expires_at.map(|at| instant(at, now)))),
        ("held", text(hold.map(|hold| format!("{} until {}", word(&hold.reason), hold.until)))),
        ("pinned", if session.pinned { "yes".to_owned() } else { String::new() }),
        ("deleted", text(session.discard.map(|left| format!("leaves {}", word(&left))))),
        ("imported", text(session.imported_at.map(|at| instant(at, now)))),
        ("origin", text(session.origin.as_ref().map(origin))),
        ("owner", owner),
    ])
}

/// The path of a session by its id, or of the open one behind a key.
async fn found(session: &str, client: &mut Client) -> Result<String, Failure> {
    if session.parse::<SessionId>().is_ok() || !session.contains(':') {
        return Ok(path(session));
    }
    let ask = Ask::get("/v1/sessions").with("key", Some(session)).with("open", Some(true));
    let open: Page<Session> = client.fetch(ask).await?;
    let Some(open) = open.items.first() else {
        let message = format!("failed to find an open session behind the key {session}");
        let hint = "`sexton session list --kind all` lists what there is";
        return Err(Failure::new(Exit::NotFound, message).hint(hint));
    };
    Ok(path(&open.id.to_string()))
}

async fn close(id: &str, verb: &str, client: &mut Client, output: Output) -> Result<(), Failure> {
    let path = found(id, client).await?;
    let answer = client.ask(Ask::post(format!("{path}/{verb}"))).await?;
    if output.json {
        return output.document(&answer.0);
    }
    let session: Session = answer.read()?;
    match session.reason {
        Some(reason) => {
            output.line(format_args!("session {} has ended: {}", session.id, word(&reason)))
        }
        None => output
            .line(format_args!("session {} ends as soon as its turn is cancelled", session.id)),
    }
}

async fn pin(id: &str, verb: &str, client: &mut Client, output: Output) -> Result<(), Failure> {
    let path = found(id, client).await?;
    let answer = client.ask(Ask::post(format!("{path}/{verb}"))).await?;
    if output.json {
        return output.document(&answer.0);
    }
    let session: Session = answer.read()?;
    let standing = if session.pinned { "pinned" } else { "not pinned" };
    output.line(format_args!("session {} is {standing}", session.id))
}

async fn delete(id: &str, purge: bool, client: &mut Client, output: Output) -> Result<(), Failure> {
    let path = found(id, client).await?;
    let ask = Ask::delete(path).with("purge", purge.then_some(true));
    let answer = client.ask(ask).await?;
    if output.json {
        return output.document(&answer.0);
    }
    // It was archived already.
    if answer.0.get("segment").is_some() {
        let Archive { session_id, .. } = answer.read()?;
        return output.line(format_args!("the archive of session {session_id} is erased"));
    }
    let session: Session = answer.read()?;
    let when = match session.open {
        true => "its turn is cancelled and its end is told",
        false => "its end is told",
    };
    let left = if session.discard == Some(Discard::Purge) { "nothing" } else { "its archive" };
    output.line(format_args!("session {} goes as soon as {when}; {left} is left", session.id))
}

/// Prints what there is, page by page.
/// Prints the transcript of what is at a path: a session, or an archive.
pub(super) async fn transcript(
    path: &str,
    mut after: u64,
    client: &mut Client,
    output: Output,
) -> Result<u64, Failure> {
    loop {
        let ask = Ask::get(format!("{path}/transcript"))
            .with("after", Some(after))
            .with("limit", Some(ENTRIES));
        let page: Page<Entry> = client.fetch(ask).await?;
        for entry in &page.items {
            print(entry, output)?;
            after = entry.seq;
        }
        if page.next.is_none() || page.items.is_empty() {
            return Ok(after);
        }
    }
}

/// Prints what there is and what comes, until the session has ended.
async fn follow(
    id: &str,
    mut after: u64,
    client: &mut Client,
    output: Output,
) -> Result<(), Failure> {
    let mut pace = Pace::up_to(LOOK_EVERY);
    loop {
        // Looked at first: entries that arrive before the end are then all seen.
        let session: Session = client.fetch(Ask::get(path(id))).await?;
        let before = after;
        after = transcript(&path(id), after, client, output).await?;
        if !session.open {
            return Ok(());
        }
        if !client.is_online() {
            output.note("nothing more will come: the daemon is not running");
            return Ok(());
        }
        if after > before {
            pace.reset();
        }
        pace.wait().await;
    }
}

fn print(entry: &Entry, output: Output) -> Result<(), Failure> {
    if output.json {
        return output.json_line(entry);
    }
    let mark = match entry.role {
        Role::User => "> ",
        Role::Assistant => "",
        Role::Tool => "| ",
        Role::System => "# ",
    };
    for line in entry.content.lines() {
        output.line(format_args!("{mark}{line}"))?;
    }
    if entry.content.is_empty() {
        output.line(mark.trim_end())?;
    }
    Ok(())
}
