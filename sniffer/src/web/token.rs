//! The secret of a run, which the printed link contains. It is never logged.

use ring::rand::{SecureRandom, SystemRandom};
use std::fmt::Write;

/// 128 random bits. The type cannot be printed by mistake; [`Token::text`] is for the link.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// Makes a token.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn random() -> Result<Self, String> {
        let mut bytes = [0; 16];
        SystemRandom::new().fill(&mut bytes).map_err(|_| "the system has no random numbers")?;
        let mut text = String::new();
        for byte in bytes {
            // Writing to a string does not fail.
            let _ = write!(text, "{byte:02x}");
        }
        Ok(Self(text))
    }

    /// 32 hexadecimal digits.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Whether a text is the token. The time does not depend on where they differ.
    pub fn is(&self, text: &[u8]) -> bool {
        let differing = self.0.bytes().zip(text).fold(0, |sum, (a, b)| sum | (a ^ b));
        text.len() == self.0.len() && std::hint::black_box(differing) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_text_is_the_token() {
        let token = Token::random().unwrap();
        assert!(token.text().len() == 32 && token.text().bytes().all(|byte| byte.is_ascii_hexdigit()), "{}", token.text());
        assert!(token.is(token.text().as_bytes()));
        let mut last = token.text().as_bytes().to_vec();
        last[31] ^= 1;
        for wrong in [b"".as_slice(), &token.text().as_bytes()[..31], &last, format!("{}0", token.text()).as_bytes()] {
            assert!(!token.is(wrong), "{wrong:?}");
        }
        assert_ne!(Token::random().unwrap().text(), token.text());
    }
}
