//! Claims: what the marks of a trace say that a store must have when the power is cut at some place.

use std::collections::BTreeMap;

use super::mark::{Mark, State, Subject, Wish};
use super::trace::{Call, Trace};

/// The wishes about one subject, in the order in which they were asked for.
#[derive(Debug, Clone, Default)]
pub struct Course {
    /// Each with where it was asked for and, if it was by then, where it was acknowledged.
    pub steps: Vec<Step>,
}

/// One wish and what became of it.
#[derive(Debug, Clone)]
pub struct Step {
    /// The wish.
    pub wish: Wish,
    /// Its place in the trace.
    pub asked: usize,
    /// That of its acknowledgement.
    pub acknowledged: Option<usize>,
    /// What it has become, as the answer says.
    pub id: Option<String>,
}

/// Everything that was marked before a place.
#[derive(Debug, Clone, Default)]
pub struct Claims {
    /// By subject.
    pub courses: BTreeMap<Subject, Course>,
    /// Events that hooks were told, with their numbers.
    pub told: Vec<(String, u64)>,
    /// Runs for which agents worked.
    pub works: Vec<String>,
}

/// What a store says about a course: which of its steps may be the last one that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached(pub Vec<bool>);

impl Claims {
    /// Those of the marks before a place.
    pub fn at(trace: &Trace, place: usize) -> Self {
        let mut claims = Self::default();
        let mut subjects: BTreeMap<u64, (Subject, usize)> = BTreeMap::new();
        for (at, call) in trace.calls.iter().enumerate().take(place) {
            let Call::Mark(mark) = call else { continue };
            match mark.clone() {
                Mark::Asked(wish) => {
                    let course = claims.courses.entry(wish.subject.clone()).or_default();
                    subjects.insert(wish.number, (wish.subject.clone(), course.steps.len()));
                    course.steps.push(Step { wish, asked: at, acknowledged: None, id: None });
                }
                Mark::Acknowledged { number, id } => {
                    let Some((subject, step)) = subjects.get(&number) else { continue };
                    let Some(course) = claims.courses.get_mut(subject) else { continue };
                    course.steps[*step].acknowledged = Some(at);
                    course.steps[*step].id = id;
                }
                Mark::Told { event, seq } => claims.told.push((event, seq)),
                Mark::Works { run } => claims.works.push(run),
            }
        }
        claims
    }

    /// How many writes were acknowledged.
    pub fn acknowledged(&self) -> u64 {
        let steps = self.courses.values().flat_map(|course| &course.steps);
        steps.filter(|step| step.acknowledged.is_some()).count() as u64
    }

    /// Whether the archive of a session may be erased already: that was asked for and not acknowledged.
    pub fn is_erasing(&self, session: &str) -> bool {
        let course = self.courses.get(&Subject::Archive(session.to_owned()));
        course.is_some_and(Course::is_open)
    }
}

impl Course {
    /// Whether the last wish is not granted yet: what is asked for may be done already, or in part.
    pub fn is_open(&self) -> bool {
        self.steps.last().is_some_and(|step| step.acknowledged.is_none())
    }

    /// What is acknowledged before a place and not there, although nothing that was asked for later is
    /// there either.
    pub fn lost(&self, reached: &Reached, before: usize) -> Option<&Step> {
        let last =
            self.steps.iter().rposition(|step| step.acknowledged.is_some_and(|at| at < before))?;
        let is_there = reached.0[last..].contains(&true);
        (!is_there).then_some(&self.steps[last])
    }

    /// Where the first step was asked for that explains what is there, if that was made for sure.
    fn made(&self, reached: &Reached) -> Option<usize> {
        let first = reached.0.iter().position(|reached| *reached)?;
        Some(&self.steps[first]).filter(|step| proves(&step.wish.state)).map(|step| step.asked)
    }
}

/// Whether nobody but whoever asked for it brings this state about: then it was made if it is there.
fn proves(state: &State) -> bool {
    match state {
        State::Prompt(_) | State::Sent | State::Pinned | State::Erased => true,
        State::Removed | State::Ended => false,
    }
}

/// What is not there although something is that was committed after it: everything that was acknowledged
/// before the newest of what is there was asked for.
pub fn holes<'a>(courses: &[(&'a Course, Reached)]) -> Vec<&'a Step> {
    let newest = courses.iter().filter_map(|(course, reached)| course.made(reached)).max();
    let lost = |(course, reached): &(&'a Course, Reached)| course.lost(reached, newest?);
    courses.iter().filter_map(lost).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn course(steps: &[(usize, Option<usize>)]) -> Course {
        let step = |(number, (asked, acknowledged)): (u64, &(usize, Option<usize>))| {
            let subject = Subject::Job("j".to_owned());
            let wish = Wish { number, subject, state: State::Prompt(number.to_string()) };
            Step { wish, asked: *asked, acknowledged: *acknowledged, id: None }
        };
        Course { steps: (0..).zip(steps).map(step).collect() }
    }

    /// P7
    #[test]
    fn what_was_acknowledged_is_lost_unless_it_or_something_later_is_there() {
        let course = course(&[(1, Some(2)), (3, Some(4)), (5, None)]);
        let lost = |reached: [bool; 3], before| {
            course.lost(&Reached(reached.to_vec()), before).map(|step| step.wish.number)
        };
        assert_eq!(lost([false, true, false], 9), None);
        assert_eq!(lost([false, false, true], 9), None, "asked for and not answered");
        assert_eq!(lost([true, false, false], 9), Some(1));
        assert_eq!(lost([true, false, false], 4), None, "the second was not acknowledged by then");
        assert_eq!(lost([false, false, false], 3), Some(0));
        assert_eq!(lost([false, false, false], 2), None);
    }

    #[test]
    fn a_step_was_made_when_nothing_earlier_explains_what_is_there() {
        let mut course = course(&[(1, Some(2)), (3, Some(4))]);
        course.steps[0].wish.state = State::Removed;
        let made = |reached: [bool; 2]| course.made(&Reached(reached.to_vec()));
        assert_eq!(made([false, true]), Some(3));
        assert_eq!(made([true, true]), None, "a job that was never made is not there either");
        assert_eq!(made([true, false]), None);
        assert_eq!(made([false, false]), None);
    }

    /// P7: what was acknowledged before something was asked for is on disk before that.
    #[test]
    fn a_hole_is_what_is_not_there_while_something_later_is() {
        let (early, late) = (course(&[(1, Some(2))]), course(&[(3, Some(5))]));
        let beside = course(&[(1, Some(4))]);
        let holes = |early_is, late_is, beside_is| {
            let reached = |is_there| Reached(vec![is_there]);
            let courses = [
                (&early, reached(early_is)),
                (&late, reached(late_is)),
                (&beside, reached(beside_is)),
            ];
            holes(&courses).iter().map(|step| step.acknowledged).collect::<Vec<_>>()
        };
        assert_eq!(holes(false, true, true), [Some(2)]);
        assert_eq!(
            holes(true, true, false),
            [],
            "it was acknowledged after the other was asked for"
        );
        assert_eq!(holes(true, false, true), [], "the end is missing");
        assert_eq!(holes(false, false, false), []);
        assert_eq!(holes(true, true, true), []);
    }

    /// A DELETE that was refused kept the course of its archive open to the end of the trace, and then no
    /// damage of any archive counted.
    #[test]
    fn an_archive_is_being_erased_while_that_is_not_acknowledged() {
        let mut claims = Claims::default();
        let subject = |session: &str| Subject::Archive(session.to_owned());
        claims.courses.insert(subject("open"), course(&[(1, None)]));
        claims.courses.insert(subject("done"), course(&[(1, None), (2, Some(3))]));
        let is_erasing = |session| claims.is_erasing(session);
        assert_eq!(["open", "done", "other"].map(is_erasing), [true, false, false]);
    }

    #[test]
    fn claims_are_those_of_the_marks_before_a_place() {
        let subject = Subject::Message("hi".to_owned());
        let asked = Mark::Asked(Wish { number: 1, subject: subject.clone(), state: State::Sent });
        let acknowledged = Mark::Acknowledged { number: 1, id: Some("r".to_owned()) };
        let told = Mark::Told { event: "evt".to_owned(), seq: 3 };
        let trace = Trace { calls: [asked, acknowledged, told].map(Call::Mark).into() };
        assert_eq!(Claims::at(&trace, 1).acknowledged(), 0);
        let claims = Claims::at(&trace, 2);
        assert_eq!((claims.acknowledged(), claims.told.len()), (1, 0));
        assert_eq!(claims.courses[&subject].steps[0].id.as_deref(), Some("r"));
        assert_eq!(Claims::at(&trace, 3).told, [("evt".to_owned(), 3)]);
    }
}
