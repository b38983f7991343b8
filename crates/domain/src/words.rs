//! Numbers in sentences.

/// A number with its noun: `1 job`, `2 jobs`.
pub fn counted(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_a_thing_is_no_plural() {
        let of = |number| counted(number, "job");
        assert_eq!([of(0), of(1), of(2)], ["0 jobs", "1 job", "2 jobs"]);
    }
}
