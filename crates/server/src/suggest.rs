//! Suggestions: what somebody probably meant.

/// `did you mean `x`?`, when one of the known words is near enough.
pub(crate) fn did_you_mean<'a>(
    given: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    let given = given.to_ascii_lowercase().replace('-', "_");
    let near = known
        .into_iter()
        .map(|word| (strsim::damerau_levenshtein(&given, word), word))
        .filter(|(distance, word)| *distance <= word.len().max(3) / 3)
        .min()?;
    Some(format!("did you mean `{}`?", near.1))
}
