//! Bytes that a disk or a wire has damaged.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

/// One damage.
#[derive(Debug, Clone)]
pub enum Damage {
    /// Bits of one byte are others.
    Flip(Index, u8),
    /// Everything from there on is missing.
    Truncate(Index),
    /// Something was put in.
    Insert(Index, Vec<u8>),
    /// Something was taken out.
    Remove(Index, usize),
    /// Something was written over it.
    Overwrite(Index, Vec<u8>),
    /// A piece of it comes a second time at the end.
    Append(Index, Index),
}

/// Any one damage.
pub fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<Index>;
    let some = || vec(any::<u8>(), 1..64);
    prop_oneof![
        4 => (at(), 1..=u8::MAX).prop_map(|(at, bits)| Damage::Flip(at, bits)),
        2 => at().prop_map(Damage::Truncate),
        1 => (at(), some()).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        1 => (at(), 1..64_usize).prop_map(|(at, count)| Damage::Remove(at, count)),
        1 => (at(), some()).prop_map(|(at, bytes)| Damage::Overwrite(at, bytes)),
        1 => (at(), at()).prop_map(|(a, b)| Damage::Append(a, b)),
    ]
}

/// `bytes` with up to three damages.
pub fn damaged(bytes: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    vec(damage(), 0..4)
        .prop_map(move |all| all.iter().fold(bytes.clone(), |bytes, damage| damage.apply(bytes)))
}

impl Damage {
    /// The bytes with this damage; what is empty stays so.
    pub fn apply(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        let count = bytes.len();
        if count == 0 {
            return bytes;
        }
        match self {
            Self::Flip(at, bits) => bytes[at.index(count)] ^= bits,
            Self::Truncate(at) => bytes.truncate(at.index(count)),
            Self::Insert(at, some) => {
                let at = at.index(count);
                drop(bytes.splice(at..at, some.iter().copied()));
            }
            Self::Remove(at, some) => {
                let at = at.index(count);
                drop(bytes.drain(at..count.min(at + some)));
            }
            Self::Overwrite(at, some) => {
                let at = at.index(count);
                for (byte, new) in bytes[at..].iter_mut().zip(some) {
                    *byte = *new;
                }
            }
            Self::Append(a, b) => {
                let (a, b) = (a.index(count), b.index(count));
                bytes.extend_from_within(a.min(b)..=a.max(b));
            }
        }
        bytes
    }
}
