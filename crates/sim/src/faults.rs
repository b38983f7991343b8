//! Faults: everything that goes wrong in worlds, by name, so that the suite can ask for all of it.

use std::fmt;

macro_rules! faults {
    ($($variant:ident = $words:literal,)*) => {
        /// Something that goes wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Fault { $($variant,)* }

        impl Fault {
            /// Every one.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant),*];

            fn words(self) -> &'static str {
                match self { $(Self::$variant => $words),* }
            }
        }
    };
}

faults! {
    Death = "death",
    SurvivorKilled = "survivor killed",
    CommitFails = "fault: a commit fails",
    TransactionRolledBack = "fault: a transaction is rolled back",
    AnswerLost = "fault: an answer is lost",
    ReadFails = "fault: a read fails",
    ArchiveFails = "fault: an archive cannot be written",
    DiskFull = "fault: the disk is full",
    ReserveUsed = "fault: the reserve of the store is in use",
    ClockAhead = "fault: the wall clock jumps ahead",
    ClockBack = "fault: the wall clock jumps back",
    ClockSetRight = "fault: the wall clock is set right",
    MachineSleeps = "fault: the machine sleeps",
    SecondEngine = "fault: a second gateway starts on the store",
    WritesOn = "fault: a process writes on after it was asked to end",
    HookTooSlow = "hook: is too slow",
    HookFails = "hook: fails",
    HookDown = "hook: is down",
    HookHangs = "hook: hangs",
    HookAnswerLost = "hook: its answer is lost",
    HookGone = "hook: is gone",
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}
