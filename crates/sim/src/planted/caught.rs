//! By which seed each planted fault is caught.

use super::Planted;
use crate::diary::Promise;

/// Each fault with the first of the fixed seeds ([`crate::seeds::FIXED`]) whose world finds it, those in which
/// the least happens first, and the promise that is broken there. `cargo xtask sim --planted` prints it anew.
pub const CAUGHT: &[(Planted, u64, Promise)] = &[
    (Planted::StartBeforeClaim, 3, Promise::P5),
    (Planted::EndWithoutDelivery, 3, Promise::P3),
    (Planted::ReaperIgnoresDeliveries, 3, Promise::P6),
    (Planted::NoFencing, 7, Promise::P1),
    (Planted::LateNote, 3, Promise::P1),
    (Planted::SlotBeforeRun, 7, Promise::P5),
    (Planted::LeaseNotRenewed, 3, Promise::P4),
    (Planted::DrainForgetsIdle, 6, Promise::P4),
    (Planted::RetryOverlapsSurvivor, 123, Promise::P5),
    (Planted::FailureAcknowledged, 3, Promise::P7),
    (Planted::MisfireLost, 6, Promise::P5),
    (Planted::HoldNotLifted, 3, Promise::P6),
    (Planted::ArchiveBeforeSync, 3, Promise::P6),
    (Planted::OrphansKept, 3, Promise::P4),
    (Planted::OrphanSessionsKept, 3, Promise::P4),
    (Planted::UsageCountedTwice, 3, Promise::P12),
    (Planted::AcknowledgedUntold, 7, Promise::P3),
    (Planted::EventsApart, 3, Promise::P1),
    (Planted::LaneOutOfOrder, 3, Promise::P3),
    (Planted::TurnOutOfOrder, 62, Promise::P2),
    (Planted::NeverReset, 62, Promise::P2),
    (Planted::RetryWithoutBackoff, 6, Promise::P5),
    (Planted::RetryNotRested, 7, Promise::Progress),
    (Planted::StopNotPassedOn, 3, Promise::P4),
    (Planted::CancelForgotten, 64, Promise::P4),
    (Planted::StopUnbounded, 6, Promise::P9),
    (Planted::StopReportLies, 3, Promise::P9),
    (Planted::ReapedUntold, 3, Promise::P6),
    (Planted::EndToldTwice, 3, Promise::P2),
    (Planted::EndForgetsSession, 3, Promise::P1),
    (Planted::ReaperIgnoresSuccessor, 64, Promise::P6),
    (Planted::AgeFromStart, 3, Promise::P6),
    (Planted::HoldWithoutEnd, 7, Promise::P6),
    (Planted::DeadUntold, 3, Promise::P3),
    (Planted::SkipLost, 3, Promise::P5),
    (Planted::OverlapIgnored, 64, Promise::P5),
    (Planted::AgentStarves, 3, Promise::Progress),
    (Planted::LateUnsaid, 7, Promise::P3),
];
