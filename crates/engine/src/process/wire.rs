//! What the shim tells the node: frames of fixed size over the control socket.
//!
//! The other direction has no frames. The node sends one byte that carries the agent's stdin, and
//! the end of its stream is the order to end the agent, whether the node meant it or died.

use crate::executor::{Exit, ProcessId};

/// Size of every frame.
pub const FRAME_BYTES: usize = 16;

/// One thing the shim has to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// The agent runs; this is its process, the leader of its group.
    Started(ProcessId),
    /// The agent could not be started. Nothing follows.
    Failed(Stage, i32),
    /// The agent's main process ended; what it left behind is being ended.
    Ended(Exit),
    /// No descendant is left (`waitpid` says so). This many outlived the main process. Nothing
    /// follows.
    Dead(u32),
}

/// What failed, with the `errno` beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Something the shim needs for itself.
    Shim,
    /// Entering the working folder.
    Cwd,
    /// Executing the command.
    Exec,
}

impl Frame {
    /// The frame as bytes: tag, detail, two of padding, an `i32`, a `u64`.
    pub fn encode(self) -> [u8; FRAME_BYTES] {
        let (tag, detail, value, long) = match self {
            Frame::Started(agent) => (1, 0, agent.pid.cast_signed(), agent.started),
            Frame::Failed(Stage::Shim, errno) => (2, 0, errno, 0),
            Frame::Failed(Stage::Cwd, errno) => (2, 1, errno, 0),
            Frame::Failed(Stage::Exec, errno) => (2, 2, errno, 0),
            Frame::Ended(Exit::Code(code)) => (3, 0, code, 0),
            Frame::Ended(Exit::Signal(signal)) => (3, 1, signal, 0),
            Frame::Ended(Exit::Lost { killed }) => (3, 2, killed.cast_signed(), 0),
            Frame::Dead(leftovers) => (4, 0, leftovers.cast_signed(), 0),
        };
        let mut bytes = [0; FRAME_BYTES];
        bytes[0] = tag;
        bytes[1] = detail;
        bytes[4..8].copy_from_slice(&value.to_le_bytes());
        bytes[8..16].copy_from_slice(&long.to_le_bytes());
        bytes
    }

    /// The frame in `bytes`; `None` if no shim of this version wrote them.
    pub fn decode(bytes: [u8; FRAME_BYTES]) -> Option<Frame> {
        let [tag, detail, _, _, v0, v1, v2, v3, long @ ..] = bytes;
        let value = i32::from_le_bytes([v0, v1, v2, v3]);
        Some(match (tag, detail) {
            (1, 0) => Frame::Started(ProcessId {
                pid: value.cast_unsigned(),
                started: u64::from_le_bytes(long),
            }),
            (2, 0) => Frame::Failed(Stage::Shim, value),
            (2, 1) => Frame::Failed(Stage::Cwd, value),
            (2, 2) => Frame::Failed(Stage::Exec, value),
            (3, 0) => Frame::Ended(Exit::Code(value)),
            (3, 1) => Frame::Ended(Exit::Signal(value)),
            (3, 2) => Frame::Ended(Exit::Lost { killed: value.cast_unsigned() }),
            (4, 0) => Frame::Dead(value.cast_unsigned()),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_frame_survives_the_wire() {
        for frame in [
            Frame::Started(ProcessId { pid: 4_000_000_000, started: u64::MAX }),
            Frame::Failed(Stage::Shim, 11),
            Frame::Failed(Stage::Cwd, 2),
            Frame::Failed(Stage::Exec, 13),
            Frame::Ended(Exit::Code(75)),
            Frame::Ended(Exit::Signal(64)),
            Frame::Ended(Exit::Lost { killed: 3 }),
            Frame::Dead(u32::MAX),
        ] {
            assert_eq!(Frame::decode(frame.encode()), Some(frame));
        }
    }

    #[test]
    fn foreign_bytes_are_no_frame() {
        assert_eq!(Frame::decode([0; FRAME_BYTES]), None);
        assert_eq!(Frame::decode([255; FRAME_BYTES]), None);
    }
}
