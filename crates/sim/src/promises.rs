//! The promises, as code: one function for each, over what is stored. Each names its number in the design.
//!
//! | promise | where |
//! |---|---|
//! | P1, P2, P4, P5 of attempts and of claims, and that what can be done is done | [`records`] |
//! | P1, P5, of each commit | [`commits`] |
//! | P5 of slots | [`crate::history`] |
//! | P7, and that archives are there before what is recorded of them (P6) | [`durable`] |
//! | P2 of persistent sessions: one open per key, who continues whom, first come first served | [`keys`] |
//! | P3 | [`told`] |
//! | P6 | [`bounded`] |
//! | P9 | [`stopping`] |
//! | P12 | [`usage`] |
//! | P2, P4 and progress, of what lasts | [`crate::patience`] |

use crate::diary::Broken;

pub(crate) mod bounded;
pub(crate) mod commits;
pub(crate) mod durable;
pub(crate) mod keys;
pub(crate) mod records;
pub(crate) mod stopping;
pub(crate) mod told;
pub(crate) mod usage;

/// Whether a promise is kept.
pub(crate) type Kept = Result<(), Broken>;
