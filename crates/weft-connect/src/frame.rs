//! MLLP frames: `0x0B message 0x1C 0x0D`.
//!
//! [`Decoder`] is a pure, incremental reader over a growing buffer: however the bytes are cut into reads, the same
//! messages come out. What senders really do, and what is made of it:
//!
//! | bytes | reading |
//! |---|---|
//! | several frames in one read, one frame in several | as if they came one by one |
//! | anything between frames | skipped and counted; line ends there are not even counted, many senders put them |
//! | `0x1C` without `0x0D`, then `0x0A`, a new frame, silence or the end of the connection | an end block |
//! | `0x1C` before any other byte | content: cutting a message short would acknowledge what was not read |
//! | `0x0B` before `MSH`, `FHS` or `BHS` while a frame is open | a new frame: the end block of the open one is missing |
//! | `0x0B` before anything else while a frame is open | content: the vertical tab that word processors leave in notes |
//! | more than the limit | refused once, nothing of it held; the next frame is read again |
//!
//! # Promise
//! A frame without its end block (the connection ended, or a new frame began) was never a complete message: it is not
//! stored and not acknowledged, only counted as broken. Its sender has no acknowledgement, so it still has the message.

use bytes::{Buf, Bytes, BytesMut};
use memchr::{memchr, memchr2};

/// Byte in front of a message.
pub const START: u8 = 0x0b;
/// First byte behind a message.
pub const END: u8 = 0x1c;
/// Second byte behind a message.
pub const CARRIAGE_RETURN: u8 = 0x0d;

const LINE_FEED: u8 = b'\n';
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
const FIRST_SEGMENTS: [&[u8]; 3] = [b"MSH", b"FHS", b"BHS"];

/// What the decoder found next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A complete message, without its framing.
    Message(Bytes),
    /// A frame is larger than the limit. Told as soon as that is known; the rest of it is skipped.
    Oversized,
    /// A frame ended without its end block after so many bytes: never a complete message.
    Broken {
        /// Bytes of content that were read of it.
        bytes: usize,
    },
}

/// Finds frames in a buffer that grows at its end.
#[derive(Debug)]
pub struct Decoder {
    message_bytes_max: usize,
    state: State,
    /// Content bytes at the front of the buffer that were searched and hold no end.
    searched: usize,
    /// The buffer's last byte is an end byte, and what follows it decides whether it is one.
    end_undecided: bool,
    skipped: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Between,
    /// The buffer begins with the first byte of content.
    Content,
    /// In the content of a frame that is too large.
    Discarding,
}

/// What a start or end byte inside a frame turned out to be.
enum Mark {
    EndOfFrame,
    StartOfNext,
    Content,
    /// What follows it is not here yet.
    Undecided,
}

impl Decoder {
    /// A decoder that refuses messages of more than `message_bytes_max` bytes.
    #[must_use]
    pub fn new(message_bytes_max: usize) -> Self {
        Self { message_bytes_max, state: State::Between, searched: 0, end_undecided: false, skipped: 0 }
    }

    /// Changes the limit, from the frame that is open on.
    pub fn set_message_bytes_max(&mut self, message_bytes_max: usize) {
        self.message_bytes_max = message_bytes_max;
    }

    /// Bytes between frames that belonged to none, line ends not counted.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Takes the next frame off the front of `buffer`; `None`: more bytes are needed.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Option<Frame> {
        self.end_undecided = false;
        loop {
            match self.state {
                State::Between => self.find_start(buffer)?,
                State::Content => {
                    if let Some(frame) = self.find_end(buffer)? {
                        return Some(frame);
                    }
                }
                State::Discarding => self.discard(buffer)?,
            }
        }
    }

    /// True where everything of a frame is in the buffer but the byte behind its end byte. A sender that omits it waits
    /// for its acknowledgement now: after a short silence, call [`settle`](Self::settle).
    #[must_use]
    pub fn ends_if_silent(&self) -> bool {
        self.end_undecided
    }

    /// Takes the end byte at the end of `buffer` as an end block, because nothing followed it.
    pub fn settle(&mut self, buffer: &mut BytesMut) -> Option<Frame> {
        if !std::mem::take(&mut self.end_undecided) {
            return None;
        }
        let open = self.state;
        self.state = State::Between;
        let content = buffer.split_to(buffer.len().saturating_sub(1)).freeze();
        buffer.clear();
        (open == State::Content).then_some(Frame::Message(content))
    }

    /// The connection ended, and `decode` has returned `None`: tells of the frame that was open.
    pub fn finish(&mut self, buffer: &mut BytesMut) -> Option<Frame> {
        if self.end_undecided {
            return self.settle(buffer);
        }
        let open = std::mem::replace(&mut self.state, State::Between);
        let bytes = buffer.len();
        buffer.clear();
        (open == State::Content && bytes > 0).then_some(Frame::Broken { bytes })
    }

    fn find_start(&mut self, buffer: &mut BytesMut) -> Option<()> {
        let start = memchr(START, buffer);
        let junk = buffer.get(..start.unwrap_or(buffer.len())).unwrap_or_default();
        self.skipped += junk.iter().filter(|byte| !matches!(**byte, CARRIAGE_RETURN | LINE_FEED)).count() as u64;
        let Some(start) = start else {
            buffer.clear();
            return None;
        };
        buffer.advance(start + 1);
        self.open(State::Content);
        Some(())
    }

    /// `None`: more bytes are needed. `Some(None)`: look again, the state has changed.
    fn find_end(&mut self, buffer: &mut BytesMut) -> Option<Option<Frame>> {
        loop {
            let rest = buffer.get(self.searched..).unwrap_or_default();
            let found = memchr2(START, END, rest);
            let at = self.searched + found.unwrap_or(rest.len());
            if at > self.message_bytes_max {
                self.open(State::Discarding);
                buffer.advance(at);
                return Some(Some(Frame::Oversized));
            }
            self.searched = at;
            found?;
            match mark(buffer.get(at..).unwrap_or_default()) {
                Mark::Content => self.searched = at + 1,
                Mark::Undecided => {
                    self.end_undecided = buffer.get(at) == Some(&END);
                    return None;
                }
                Mark::EndOfFrame => {
                    // A copy: the log keeps messages for a while, and a slice would keep all of what was read with it.
                    let message = Bytes::copy_from_slice(buffer.get(..at).unwrap_or_default());
                    buffer.advance(at + 1);
                    self.open(State::Between);
                    return Some(Some(Frame::Message(message)));
                }
                Mark::StartOfNext => {
                    buffer.advance(at + 1);
                    self.open(State::Content);
                    if at > 0 {
                        return Some(Some(Frame::Broken { bytes: at }));
                    }
                    self.skipped += 1;
                    return Some(None);
                }
            }
        }
    }

    fn discard(&mut self, buffer: &mut BytesMut) -> Option<()> {
        loop {
            let found = memchr2(START, END, buffer);
            buffer.advance(found.unwrap_or(buffer.len()));
            found?;
            match mark(buffer) {
                Mark::Content => buffer.advance(1),
                Mark::Undecided => {
                    self.end_undecided = buffer.first() == Some(&END);
                    return None;
                }
                Mark::EndOfFrame => {
                    buffer.advance(1);
                    self.open(State::Between);
                    return Some(());
                }
                Mark::StartOfNext => {
                    buffer.advance(1);
                    self.open(State::Content);
                    return Some(());
                }
            }
        }
    }

    fn open(&mut self, state: State) {
        self.state = state;
        self.searched = 0;
    }
}

/// Appends `message` with its framing to `out`.
pub fn encode(message: &[u8], out: &mut Vec<u8>) {
    out.reserve(message.len() + 3);
    out.push(START);
    out.extend_from_slice(message);
    out.extend_from_slice(&[END, CARRIAGE_RETURN]);
}

/// Decides what the start or end byte at the front of `bytes` is, inside a frame.
fn mark(bytes: &[u8]) -> Mark {
    match bytes {
        [END] => Mark::Undecided,
        [END, CARRIAGE_RETURN | LINE_FEED | START, ..] => Mark::EndOfFrame,
        [START, rest @ ..] => start_of_message(rest),
        _ => Mark::Content,
    }
}

fn start_of_message(rest: &[u8]) -> Mark {
    if !rest.is_empty() && rest.len() < BYTE_ORDER_MARK.len() && BYTE_ORDER_MARK.starts_with(rest) {
        return Mark::Undecided;
    }
    let rest = rest.strip_prefix(BYTE_ORDER_MARK).unwrap_or(rest);
    if FIRST_SEGMENTS.iter().any(|segment| rest.starts_with(segment)) {
        Mark::StartOfNext
    } else if FIRST_SEGMENTS.iter().any(|segment| segment.starts_with(rest)) {
        Mark::Undecided
    } else {
        Mark::Content
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds `chunks` one after the other and ends the connection. Text: `<m>` message, `!` oversized, `~n` broken.
    fn decode_all<'a>(chunks: impl IntoIterator<Item = &'a [u8]>, max: usize) -> (Vec<Frame>, u64) {
        let (mut decoder, mut buffer, mut frames) = (Decoder::new(max), BytesMut::new(), Vec::new());
        for chunk in chunks {
            buffer.extend_from_slice(chunk);
            while let Some(frame) = decoder.decode(&mut buffer) {
                frames.push(frame);
            }
        }
        frames.extend(decoder.finish(&mut buffer));
        assert!(buffer.is_empty());
        (frames, decoder.skipped())
    }

    /// `bytes`: `[` start, `]` end byte, `$` carriage return. At most 12 bytes a message.
    fn check(bytes: &str, wanted: &str, skipped: u64) {
        let bytes: Vec<u8> = bytes
            .bytes()
            .map(|byte| match byte {
                b'[' => START,
                b']' => END,
                b'$' => CARRIAGE_RETURN,
                other => other,
            })
            .collect();
        let (frames, junk) = decode_all([bytes.as_slice()], 12);
        let shown: Vec<String> = frames
            .iter()
            .map(|frame| match frame {
                Frame::Message(message) => String::from_utf8_lossy(message)
                    .replace(char::from(START), "[")
                    .replace(char::from(END), "]")
                    .replace('\r', "$"),
                Frame::Oversized => "!".to_owned(),
                Frame::Broken { bytes } => format!("~{bytes}"),
            })
            .collect();
        assert_eq!((shown.join(","), junk), (wanted.to_owned(), skipped), "{bytes:?}");
        let (byte_by_byte, junk_by_byte) = decode_all(bytes.chunks(1), 12);
        assert_eq!((byte_by_byte, junk_by_byte), (frames, junk), "{bytes:?} byte by byte");
    }

    #[test]
    fn what_senders_do() {
        check("[MSH|a]$", "MSH|a", 0);
        check("[MSH|a]$[MSH|b]$", "MSH|a,MSH|b", 0);
        check("[]$", "", 0);
        check("junk[MSH|a]$more\n[MSH|b]$", "MSH|a,MSH|b", 8);
        check("[MSH|a]$\n$\n[MSH|b]$\n", "MSH|a,MSH|b", 0);
        check("no frame at all", "", 15);
        check("]$[MSH|a]$", "MSH|a", 1);
        check("[MSH|a$PID|b]$", "MSH|a$PID|b", 0);
    }

    #[test]
    fn end_blocks_that_lack_their_second_byte() {
        check("[MSH|a][MSH|b]$", "MSH|a,MSH|b", 0);
        check("[MSH|a]\n[MSH|b]\n", "MSH|a,MSH|b", 0);
        check("[MSH|a]", "MSH|a", 0);
        check("[MSH|a]x[MSH|b]$", "~7,MSH|b", 0);
    }

    #[test]
    fn framing_bytes_inside_content() {
        check("[MSH|a]b]$", "MSH|a]b", 0);
        check("[MSH|a[b]$", "MSH|a[b", 0);
        check("[MSH|a[MS]$", "MSH|a[MS", 0);
    }

    #[test]
    fn end_blocks_that_are_missing() {
        check("[MSH|a[MSH|b]$", "~5,MSH|b", 0);
        check("[MSH|a[BHS|b]$", "~5,BHS|b", 0);
        check("[MSH|a[\u{feff}MSH|b]$", "~5,\u{feff}MSH|b", 0);
        check("[[MSH|b]$", "MSH|b", 1);
        check("[MSH|a", "~5", 0);
        check("[MSH|a]$[MSH", "MSH|a,~3", 0);
        check("[", "", 0);
    }

    #[test]
    fn frames_over_the_limit() {
        check("[MSH|56789012]$", "MSH|56789012", 0);
        check("[MSH|567890123]$", "!", 0);
        check("[MSH|567890123456789]$[MSH|b]$", "!,MSH|b", 0);
        check("[MSH|567890123456789[MSH|b]$", "!,MSH|b", 0);
        check("[MSH|567890123]x[y]$[MSH|b]$", "!,MSH|b", 0);
        check("[MSH|567890123456", "!", 0);
    }

    #[test]
    fn an_oversized_frame_is_not_held() {
        let (mut decoder, mut buffer) = (Decoder::new(1000), BytesMut::new());
        buffer.extend_from_slice(&[START]);
        let mut refused = 0;
        for _ in 0..100 {
            buffer.extend_from_slice(&[b'x'; 700]);
            refused += usize::from(decoder.decode(&mut buffer) == Some(Frame::Oversized));
            assert!(decoder.decode(&mut buffer).is_none() && buffer.len() <= 1000);
        }
        assert_eq!(refused, 1);
    }

    #[test]
    fn silence_ends_a_frame_whose_end_block_is_half() {
        let (mut decoder, mut buffer) = (Decoder::new(100), BytesMut::from(&b"\x0bMSH|a\x1c"[..]));
        assert_eq!(decoder.decode(&mut buffer), None);
        assert!(decoder.ends_if_silent());
        assert_eq!(decoder.settle(&mut buffer), Some(Frame::Message(Bytes::from_static(b"MSH|a"))));
        assert!(!decoder.ends_if_silent());
        buffer.extend_from_slice(b"\r\x0bMSH|b");
        assert_eq!(decoder.decode(&mut buffer), None);
        assert_eq!((decoder.settle(&mut buffer), decoder.skipped()), (None, 0));
        assert_eq!(decoder.finish(&mut buffer), Some(Frame::Broken { bytes: 5 }));
    }

    fn cut<'a>(bytes: &'a [u8], lengths: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = bytes;
        lengths.iter().cycle().map_while(move |length| {
            let (chunk, after) = rest.split_at((*length).min(rest.len()));
            rest = after;
            (!chunk.is_empty()).then_some(chunk)
        })
    }

    fn tricky_byte() -> impl Strategy<Value = u8> {
        prop_oneof![
            Just(START),
            Just(END),
            Just(CARRIAGE_RETURN),
            Just(LINE_FEED),
            prop::sample::select(b"MSHFB|\xef\xbb\xbf".to_vec()),
            any::<u8>()
        ]
    }

    proptest! {
        #[test]
        fn any_cut_of_any_bytes_reads_the_same(
            bytes in prop::collection::vec(tricky_byte(), 0..400),
            lengths in prop::collection::vec(1usize..40, 1..20),
            max in 0usize..60,
        ) {
            prop_assert_eq!(decode_all(cut(&bytes, &lengths), max), decode_all([bytes.as_slice()], max));
        }

        #[test]
        fn messages_come_out_as_they_went_in(
            messages in prop::collection::vec("MSH[ -~\r]{0,60}", 0..12),
            junk in prop::collection::vec("[ -~\r\n]{0,10}", 12),
            lengths in prop::collection::vec(1usize..90, 1..20),
        ) {
            let mut bytes = Vec::new();
            for (message, junk) in messages.iter().zip(&junk) {
                bytes.extend_from_slice(junk.as_bytes());
                encode(message.as_bytes(), &mut bytes);
            }
            let (frames, skipped) = decode_all(cut(&bytes, &lengths), 100);
            let wanted: Vec<Frame> = messages.iter().map(|m| Frame::Message(Bytes::from(m.clone()))).collect();
            prop_assert_eq!(frames, wanted);
            let counted = |text: &String| text.bytes().filter(|b| !matches!(b, b'\r' | b'\n')).count() as u64;
            prop_assert_eq!(skipped, junk.iter().take(messages.len()).map(counted).sum::<u64>());
        }
    }
}
