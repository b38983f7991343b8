//! Reports: what an agent says about its own run, as JSON lines in a file.
//!
//! A line says what a model call took, how the run ended, or both. Lines that cannot be read never fail
//! a run: they count for nothing and are named in a remark.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use crate::duration::Duration;
use crate::plan::ending::{Ending, RetryWish};
use crate::run::{Outcome, Reason, RunError};
use crate::usage::{Spent, Tokens};
use crate::words::counted;

/// How much of a report is read, in bytes.
pub const MAX_REPORT_BYTES: usize = 1024 * 1024;
/// How many of its lines are read.
pub const MAX_LINES: usize = 10_000;
/// The longest name of a model, in bytes.
pub const MAX_MODEL_BYTES: usize = 128;
/// How many models one run may name: each is a daily sum that is kept for ever.
pub const MAX_MODELS: usize = 32;
/// The most tokens of one kind that one line may count; more is a mistake.
pub const MAX_TOKENS: u64 = 1_000_000_000_000;
/// The highest cost that one line may count, in US dollars; more is a mistake.
pub const MAX_COST_USD: f64 = 1_000_000.0;
/// How much of the reason of an outcome is kept, in bytes.
pub const MAX_REASON_BYTES: usize = 4 * 1024;

/// How many unreadable lines a remark names.
const NAMED: usize = 5;
/// The model of a report that does not say which.
const UNKNOWN_MODEL: &str = "unknown";

/// What a report says, as far as it can be read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// What model calls took, in the order of the lines.
    pub spent: Vec<Spent>,
    /// The last outcome it declares.
    pub declared: Option<Declared>,
    /// How many lines count for nothing, or not in all they say.
    pub flawed: u64,
    /// The first of them: line and what is wrong with it.
    pub flaws: Vec<(u64, String)>,
    /// Why nothing of it was read, if it could not be.
    pub unread: Option<String>,
    /// It goes on beyond [`MAX_REPORT_BYTES`] or [`MAX_LINES`].
    pub cut: bool,
}

/// How an agent says that its run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// One of ok, failed and skipped.
    pub outcome: Outcome,
    /// Why, for people.
    pub reason: Option<String>,
    /// What it says about a retry, if anything.
    pub retry: Option<RetryWish>,
}

impl Report {
    /// Reads a report. Of more than [`MAX_REPORT_BYTES`] the rest, and a line that crosses the limit,
    /// is left out.
    pub fn parse(bytes: &[u8]) -> Self {
        let mut report = Self { cut: bytes.len() > MAX_REPORT_BYTES, ..Self::default() };
        let bytes = match report.cut {
            true => whole_lines(&bytes[..MAX_REPORT_BYTES]),
            false => bytes,
        };
        let mut models = BTreeSet::new();
        for (line, number) in bytes.split(|byte| *byte == b'\n').zip(1..) {
            if line.trim_ascii().is_empty() {
                continue;
            }
            if number > MAX_LINES as u64 {
                report.cut = true;
                break;
            }
            if let Err(flaw) = report.take(line, number, &mut models) {
                report.note(number, flaw);
            }
        }
        report
    }

    /// A report that is there and cannot be read.
    pub fn unread(why: String) -> Self {
        Self { unread: Some(why), ..Self::default() }
    }

    /// What the end of a run becomes by its report: the usage is counted whatever the end was; the
    /// declared outcome decides only where the exit code would.
    pub fn settle(self, ending: Ending) -> Ending {
        let Self { spent, declared, .. } = self;
        let ending = Ending { spent, ..ending };
        let Some(declared) = declared.filter(|_| ending.reason == Reason::Exit) else {
            return ending;
        };
        let Declared { outcome, reason, retry } = declared;
        let error = (outcome == Outcome::Failed).then(|| RunError {
            class: "declared".to_owned(),
            message: reason.unwrap_or_else(|| "the agent says that it failed".to_owned()),
        });
        let retry = retry.unwrap_or(ending.retry);
        Ending { outcome, reason: Reason::Declared, error, retry, ..ending }
    }

    /// What a transcript should say about the report: lines that do not count, and the reason of an
    /// outcome that is no failure.
    pub fn remark(&self) -> Option<String> {
        let mut parts = Vec::new();
        if let Some(Declared { outcome, reason: Some(reason), .. }) = &self.declared
            && *outcome != Outcome::Failed
        {
            let word = if *outcome == Outcome::Skipped { "skipped" } else { "ok" };
            parts.push(format!("{word}: {reason}"));
        }
        if let Some(why) = &self.unread {
            parts.push(format!("the report could not be read: {why}"));
        }
        if self.flawed > 0 {
            let named: Vec<String> =
                self.flaws.iter().map(|(line, flaw)| format!("line {line}: {flaw}")).collect();
            let more = self.flawed - named.len() as u64;
            let rest = if more > 0 { format!("; and {more} more") } else { String::new() };
            parts.push(format!(
                "{} of the report could not be read: {}{rest}",
                counted(self.flawed, "line"),
                named.join("; ")
            ));
        }
        if self.cut {
            parts.push(format!(
                "the report is longer than {MAX_REPORT_BYTES} bytes or {MAX_LINES} lines: the rest does not count"
            ));
        }
        (!parts.is_empty()).then(|| format!("[{}]", parts.join(". ")))
    }

    fn take(
        &mut self,
        line: &[u8],
        number: u64,
        models: &mut BTreeSet<String>,
    ) -> Result<(), String> {
        let line: Line = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        if line.usage.is_none() && line.outcome.is_none() {
            return Err("it has neither `usage` nor `outcome`".to_owned());
        }
        if let Some(usage) = line.usage {
            let (model, tokens) = usage.read()?;
            if !models.contains(&model) && models.len() == MAX_MODELS {
                return Err(format!("it names another model after {MAX_MODELS}"));
            }
            models.insert(model.clone());
            self.spent.push(Spent { line: number, model, tokens });
        }
        let Some(outcome) = line.outcome else { return Ok(()) };
        let retry = line.retry.map(|wish| read_wish(&wish)).transpose();
        self.declared = Some(Declared {
            outcome: outcome.into(),
            reason: line.reason.map(|reason| clip(&reason)).filter(|reason| !reason.is_empty()),
            retry: retry.clone().ok().flatten(),
        });
        retry.map(|_| ())
    }

    fn note(&mut self, line: u64, flaw: String) {
        self.flawed += 1;
        if self.flaws.len() < NAMED {
            self.flaws.push((line, flaw.chars().take(160).collect()));
        }
    }
}

/// A line as it stands in the file. Fields that are not known are left to others.
#[derive(Deserialize)]
struct Line {
    usage: Option<Counted>,
    outcome: Option<Word>,
    reason: Option<String>,
    retry: Option<Value>,
}

#[derive(Deserialize)]
struct Counted {
    model: Option<String>,
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cached_tokens: Option<u64>,
    cost_usd: Option<f64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Ok,
    Failed,
    Skipped,
}

impl From<Word> for Outcome {
    fn from(word: Word) -> Self {
        match word {
            Word::Ok => Self::Ok,
            Word::Failed => Self::Failed,
            Word::Skipped => Self::Skipped,
        }
    }
}

impl Counted {
    fn read(self) -> Result<(String, Tokens), String> {
        let Self { model, input_tokens, output_tokens, cached_tokens, cost_usd } = self;
        let counts = [input_tokens, output_tokens, cached_tokens];
        if counts.iter().all(Option::is_none) && cost_usd.is_none() {
            return Err("its `usage` counts nothing".to_owned());
        }
        if counts.into_iter().flatten().any(|count| count > MAX_TOKENS) {
            return Err(format!("it counts more than {MAX_TOKENS} tokens"));
        }
        let tokens = Tokens {
            input: input_tokens.unwrap_or(0),
            output: output_tokens.unwrap_or(0),
            cached: cached_tokens.unwrap_or(0),
            cost_micro_usd: cost_usd.map_or(Ok(0), micro_usd)?,
        };
        Ok((read_model(model)?, tokens))
    }
}

fn read_model(model: Option<String>) -> Result<String, String> {
    let model = model.as_deref().map_or("", str::trim);
    match model {
        "" => Ok(UNKNOWN_MODEL.to_owned()),
        long if long.len() > MAX_MODEL_BYTES => {
            Err(format!("its model's name is longer than {MAX_MODEL_BYTES} bytes"))
        }
        odd if odd.chars().any(char::is_control) => {
            Err("its model's name has a control character".to_owned())
        }
        model => Ok(model.to_owned()),
    }
}

/// Millionths of a dollar: exact for amounts with up to six decimals, else rounded to the nearest.
fn micro_usd(usd: f64) -> Result<u64, String> {
    match usd {
        usd if !usd.is_finite() || usd < 0.0 => Err(format!("it costs {usd} dollars")),
        usd if usd > MAX_COST_USD => Err(format!("it costs more than {MAX_COST_USD} dollars")),
        // At most a million dollars: the product is far below 2^53, where doubles skip integers.
        usd => Ok((usd * 1e6).round() as u64),
    }
}

fn read_wish(wish: &Value) -> Result<RetryWish, String> {
    let what = "its `retry` is not true, false or a time like \"10m\"";
    match wish {
        Value::Bool(true) => Ok(RetryWish::Temporary),
        Value::Bool(false) => Ok(RetryWish::Never),
        Value::String(time) => match time.parse::<Duration>() {
            Ok(time) => Ok(RetryWish::After(time)),
            Err(error) => Err(format!("{what}: {error}")),
        },
        _ => Err(what.to_owned()),
    }
}

fn clip(reason: &str) -> String {
    let reason = reason.trim();
    reason[..reason.floor_char_boundary(MAX_REASON_BYTES)].to_owned()
}

/// All up to the last line break.
fn whole_lines(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
    &bytes[..end]
}

#[cfg(test)]
mod tests;
