//! What the healing is going to do, as a document that can be read, kept and applied later.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::finding::{Code, Cure, Finding, Item, Step, Subject};

/// The version of plans that is written and read.
pub const VERSION: u32 = 1;

/// What the healing is going to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// [`VERSION`].
    pub version: u32,
    /// When it was made.
    pub made_at: Timestamp,
    /// The state folder, absolute.
    pub folder: PathBuf,
    /// What is healed, each item all or not at all.
    pub items: Vec<PlanItem>,
    /// What needs a person.
    pub person: Vec<PersonItem>,
}

/// Something that is healed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanItem {
    /// Its number in the plan, from 1.
    pub n: usize,
    /// What is wrong.
    pub code: Code,
    /// With what.
    pub subject: Subject,
    /// Why it is believed.
    pub evidence: String,
    /// How many bytes are at stake, where it is about bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// What is done.
    pub steps: Vec<Step>,
}

/// Something that a person has to decide.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PersonItem {
    /// What is wrong.
    pub code: Code,
    /// With what.
    pub subject: Subject,
    /// Why it is believed.
    pub evidence: String,
    /// What they can do.
    pub help: String,
}

impl Plan {
    /// The plan that follows from findings; of `only` these codes, if there are any.
    pub fn of(findings: &[Finding], folder: &Path, made_at: Timestamp, only: &[Code]) -> Self {
        let folder = folder.to_owned();
        let mut plan =
            Self { version: VERSION, made_at, folder, items: Vec::new(), person: Vec::new() };
        let wanted = |code: Code| only.is_empty() || only.contains(&code);
        for finding in findings.iter().filter(|finding| wanted(finding.code)) {
            for item in &finding.items {
                plan.add(finding.code, item);
            }
        }
        plan
    }

    fn add(&mut self, code: Code, item: &Item) {
        let (subject, evidence) = (item.subject.clone(), item.evidence.clone());
        match &item.cure {
            Cure::Steps(steps) => self.items.push(PlanItem {
                n: self.items.len() + 1,
                code,
                subject,
                evidence,
                bytes: item.bytes,
                steps: steps.clone(),
            }),
            Cure::Person(help) => {
                self.person.push(PersonItem { code, subject, evidence, help: help.clone() });
            }
        }
    }

    /// Reads a plan.
    ///
    /// # Errors
    ///
    /// Why it is none.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let plan: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if plan.version != VERSION {
            return Err(format!("a plan of version {}; known is {VERSION}", plan.version));
        }
        Ok(plan)
    }

    /// The plan as text: JSON, a line for each value.
    pub fn text(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a plan is JSON");
        text.push('\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn finding(code: Code, cure: Cure) -> Finding {
        let subject = Subject::File(PathBuf::from("a.jsonl"));
        Finding { code, items: vec![Item { subject, evidence: "e".into(), bytes: None, cure }] }
    }

    #[test]
    fn a_plan_tells_what_is_healed_from_what_needs_a_person_and_reads_back() {
        let step = Step::EditRow {
            store: PathBuf::from("sessions.json"),
            key: "k".into(),
            was: "00".into(),
            set: [("status".to_owned(), json!("failed"))].into_iter().collect(),
            unset: vec!["x".into()],
        };
        let findings = [
            finding(Code::Zombie, Cure::Steps(vec![step])),
            finding(Code::JobNeverFires, Cure::Person("look".into())),
            finding(Code::StaleTemp, Cure::Steps(Vec::new())),
        ];
        let at = Timestamp::UNIX_EPOCH;
        let plan = Plan::of(&findings, Path::new("/state"), at, &[]);
        assert_eq!((plan.items.len(), plan.person.len(), plan.items[1].n), (2, 1, 2));
        assert_eq!(Plan::read(plan.text().as_bytes()), Ok(plan.clone()));
        let only = Plan::of(&findings, Path::new("/state"), at, &[Code::Zombie]);
        assert_eq!((only.items.len(), only.person.len()), (1, 0));
        let newer = plan.text().replacen("\"version\": 1", "\"version\": 2", 1);
        assert!(Plan::read(newer.as_bytes()).is_err());
    }
}
