//! Page tokens: where the next page starts and at which cut, bound to the request that they were made for.
//!
//! A token is no secret and grants nothing: what it names is checked again. The checksum finds a token that was damaged
//! or given to another request, so that such a call fails instead of answering about something else.

use prost::Message;
use weft_model::{Cut, hex, proto::api};

use crate::error::{Error, invalid};

/// Where a walk goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Page {
    /// The cut of the first page.
    pub(crate) cut: Cut,
    /// The read model's key of the last line of the page before.
    pub(crate) key: String,
}

/// Everything in a request that must stay as it was from page to page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Walk(u64);

#[derive(Clone, PartialEq, Message)]
struct Token {
    #[prost(message, optional, tag = "1")]
    cut: Option<api::Cut>,
    #[prost(string, tag = "2")]
    key: String,
    #[prost(fixed64, tag = "3")]
    check: u64,
}

impl Walk {
    /// Of a method and the parts of its request.
    pub(crate) fn new(method: &str, parts: &[&[u8]]) -> Self {
        let start = fnv(OFFSET, method.as_bytes());
        Self(parts.iter().fold(start, |sum, part| fnv(fnv(sum, &part.len().to_be_bytes()), part)))
    }

    /// The token of the next page.
    pub(crate) fn token(self, page: &Page) -> String {
        let cut = page.cut.to_proto();
        let check = self.check(&cut, &page.key);
        let token = Token { cut: Some(cut), key: page.key.clone(), check };
        hex(&token.encode_to_vec())
    }

    /// Reads a token; `None` for the empty one, which asks for the first page.
    pub(crate) fn read(self, text: &str) -> Result<Option<Page>, Error> {
        if text.is_empty() {
            return Ok(None);
        }
        let page = bytes(text).and_then(|bytes| {
            let token = Token::decode(bytes.as_slice()).ok()?;
            let cut = token.cut?;
            let ours = token.check == self.check(&cut, &token.key);
            ours.then_some(())?;
            Some(Page { cut: Cut::from_proto(&cut).ok()?, key: token.key })
        });
        let wrong = || invalid("page-token-invalid", "page_token", "is not from an answer to this request");
        page.ok_or_else(wrong).map(Some)
    }

    fn check(self, cut: &api::Cut, key: &str) -> u64 {
        fnv(fnv(self.0, &cut.encode_to_vec()), key.as_bytes())
    }
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = hex.chars().map(|c| c.to_digit(16)).collect();
    let digits = digits.filter(|d| d.len() % 2 == 0)?;
    let byte = |pair: &[u32]| pair.iter().fold(0, |byte, digit| byte << 4 | digit);
    digits.chunks(2).map(|pair| u8::try_from(byte(pair)).ok()).collect()
}

/// FNV-1a, 64 bits: stable across builds, which the standard library's hasher does not promise.
fn fnv(sum: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(sum, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> Page {
        Page { cut: "feed/0/120,identity/0/80".parse().unwrap(), key: "12.-7".to_owned() }
    }

    fn check_refused(walk: Walk, token: &str) {
        let Err(Error::Invalid(details)) = walk.read(token) else { panic!("accepted {token}") };
        assert_eq!(details[0].field, "page_token");
    }

    #[test]
    fn a_token_reads_back_in_its_own_walk_only() {
        let walk = Walk::new("GetTimeline", &[b"person", b"filter"]);
        let token = walk.token(&page());
        assert_eq!(walk.read(&token).unwrap(), Some(page()));
        assert_eq!(walk.read("").unwrap(), None);
        check_refused(Walk::new("GetTimeline", &[b"person2", b"filter"]), &token);
        check_refused(Walk::new("GetTimeline", &[b"personf", b"ilter"]), &token);
        check_refused(Walk::new("ListQuarantine", &[b"person", b"filter"]), &token);
        for wrong in ["x", "0", "zz", "00", "é"] {
            check_refused(walk, wrong);
        }
    }

    #[test]
    fn a_damaged_token_is_refused() {
        let walk = Walk::new("GetTimeline", &[]);
        let token = walk.token(&page());
        for at in 0..token.len() {
            let mut damaged: Vec<char> = token.chars().collect();
            damaged[at] = if damaged[at] == '0' { '1' } else { '0' };
            let damaged: String = damaged.into_iter().collect();
            assert!(walk.read(&damaged).is_err(), "digit {at}");
        }
    }
}
