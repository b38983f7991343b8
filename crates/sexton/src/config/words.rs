//! What is wrong, in the words of the file: serde and the domain say it in theirs.

/// Says in the words of the file what serde and the domain say in theirs, and adds a hint.
pub fn in_words(message: &str, key: &str) -> (String, Option<String>) {
    let mut names = message.split('`').skip(1).step_by(2);
    if message.starts_with("unknown field") {
        let found = names.next().unwrap_or_default();
        return (format!("unknown key `{found}`"), Some(suggestion(found, names, "keys here")));
    }
    if message.starts_with("unknown variant") {
        let found = names.next().unwrap_or_default();
        return (format!("unknown value `{found}`"), Some(suggestion(found, names, "values")));
    }
    if message.starts_with("missing field") {
        let field = names.next().unwrap_or_default();
        let hint = format!("add a line `{field} = …` to `[{key}]`");
        return (format!("`{field}` is missing"), Some(hint));
    }
    for start in ["invalid type: ", "invalid value: "] {
        if let Some((found, expected)) =
            message.strip_prefix(start).and_then(|rest| rest.split_once(", expected "))
        {
            let (expected, hint) = expectation(expected, found, key);
            return (format!("expected {expected}, found {found}"), hint.map(str::to_owned));
        }
    }
    if message == "wanted string or table" {
        return ("expected a string or a table".to_owned(), None);
    }
    // What an untagged enum says is what it expected.
    if message.starts_with(['"', '{']) || message.starts_with("a ") {
        return (format!("expected {message}"), None);
    }
    stated(message)
}

/// The fragment `read … as …` of the domain as a statement, with a hint.
pub fn stated(message: &str) -> (String, Option<String>) {
    let hint = standing_hint(message).map(str::to_owned);
    if message.starts_with("read ") {
        (format!("cannot {message}"), hint)
    } else {
        (message.to_owned(), hint)
    }
}

/// The hint where nothing better is known.
pub fn example() -> Option<String> {
    Some("`sexton init DIR` writes a commented example of everything".to_owned())
}

fn expectation<'e>(expected: &'e str, found: &str, key: &str) -> (&'e str, Option<&'static str>) {
    let is_text = found.starts_with("string");
    match expected {
        _ if key.ends_with("timeout") && found == "boolean `false`" => {
            (expected, Some("every run has a deadline; write a long one, for example \"7d\""))
        }
        "a string" => (expected, Some("put the value in quotes")),
        "a boolean" => ("true or false", Some("write it without quotes")),
        "a sequence" => ("a list", Some("put the value in brackets, for example [\"…\"]")),
        "a map" => ("a table", None),
        _ if expected.starts_with("struct ") => ("a table", None),
        "socket address" => ("an address with a port", Some("for example \"127.0.0.1:4747\"")),
        _ if expected.starts_with("a number of bytes") => (expected, Some("for example \"16MiB\"")),
        _ if expected.starts_with("a nonzero ") && is_text => {
            ("a whole number of at least 1", Some("write it without quotes"))
        }
        _ if expected.starts_with("a nonzero ") => {
            ("a whole number of at least 1", Some("leave it out for the default"))
        }
        _ if expected.starts_with(['u', 'i']) && expected[1..].parse::<u8>().is_ok() => {
            ("a whole number", Some("write digits only, without quotes"))
        }
        _ => (expected, None),
    }
}

fn standing_hint(message: &str) -> Option<&'static str> {
    let hints = [
        ("a retention", "write false to keep for ever, or a duration like \"24h\""),
        ("silence of zero", "write false for never, or a duration like \"12h\""),
        ("as a duration", "durations are written like \"90s\", \"5m\", \"1h30m\" or \"7d\""),
        ("duration from", "durations are written like \"90s\", \"5m\", \"1h30m\" or \"7d\""),
        ("never fires", "look at day and month together: a 30th of February never comes"),
        (
            "cron expression",
            "five fields: minute hour day month weekday, for example \"0 7 * * *\"",
        ),
        ("as a time zone", "write an IANA name like \"Europe/Berlin\" or \"UTC\""),
        ("time of the day", "write for example \"04:00\", or false for never"),
        ("as a time", "write \"2027-01-31T09:00:00Z\", or \"2027-01-31 09:00\" together with `tz`"),
        ("socket address", "write an address and a port, for example \"127.0.0.1:4747\""),
    ];
    hints.into_iter().find(|(part, _)| message.contains(part)).map(|(_, hint)| hint)
}

/// `did you mean …?`, or everything there is to choose from.
pub fn suggestion<'a>(found: &str, known: impl Iterator<Item = &'a str>, what: &str) -> String {
    let known: Vec<&str> = known.collect();
    let near = known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(found, name), *name))
        .filter(|(distance, name)| *distance <= name.len().max(found.len()) / 3)
        .min();
    match near {
        Some((_, name)) => format!("did you mean `{name}`?"),
        None if known.is_empty() => format!("there are no {what}"),
        None => format!("{what}: {}", known.join(", ")),
    }
}
