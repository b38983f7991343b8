//! Signatures of Standard Webhooks, computed here anew: this check shares no code with what it checks.

use sha2::{Digest as _, Sha256};

use crate::dice::Dice;

/// The block of SHA-256, in bytes.
const BLOCK: usize = 64;

/// What sender and receiver share.
#[derive(Clone)]
pub struct Secret([u8; 32]);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// What is signed.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// `webhook-id`
    pub id: &'a str,
    /// `webhook-timestamp`, in seconds.
    pub timestamp: &'a str,
    /// The body as it came.
    pub body: &'a [u8],
}

impl Secret {
    /// A secret for a while.
    pub fn draw(dice: &mut Dice) -> Self {
        Self(std::array::from_fn(|_| dice.below(256) as u8))
    }

    /// As it stands in a config.
    pub fn text(&self) -> String {
        format!("whsec_{}", base64(&self.0))
    }

    /// The signature that this message must have.
    pub fn sign(&self, message: Message<'_>) -> String {
        let Message { id, timestamp, body } = message;
        let signed = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat();
        format!("v1,{}", base64(&hmac(&self.0, &signed)))
    }

    /// Whether one of these signatures, which stand with spaces between them, is right.
    pub fn verify(&self, message: Message<'_>, signatures: &str) -> bool {
        let right = self.sign(message);
        signatures.split(' ').any(|signature| signature == right)
    }
}

/// HMAC-SHA256 (RFC 2104) with a key that is no longer than a block.
fn hmac(key: &[u8; 32], text: &[u8]) -> [u8; 32] {
    let pad = |filler: u8| {
        let mut block = [filler; BLOCK];
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        block
    };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().into()
}

/// Base64 (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let three = [chunk[0], *chunk.get(1).unwrap_or(&0), *chunk.get(2).unwrap_or(&0)];
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        for place in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * place)) as usize & 63];
            text.push(if place > chunk.len() { '=' } else { char::from(letter) });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_as_in_rfc_4648() {
        let vectors =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")];
        for (plain, coded) in vectors {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn hmac_is_as_python_computes_it() {
        let mac = hmac(&[0x0b; 32], b"Hi There");
        let hex: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "198a607eb44bfbc69903a0f1cf2bbdc5ba0aa3f3d9ae3c1c7a3b1696a0b68cf7");
    }

    #[test]
    fn another_body_id_or_time_has_another_signature() {
        let secret = Secret::draw(&mut Dice(7));
        let message = Message { id: "a", timestamp: "1", body: b"{}" };
        let signature = secret.sign(message);
        assert!(secret.verify(message, &format!("v1,other {signature}")));
        for other in [
            Message { id: "b", ..message },
            Message { timestamp: "2", ..message },
            Message { body: b"[]", ..message },
        ] {
            assert!(!secret.verify(other, &signature), "{other:?}");
        }
    }
}
