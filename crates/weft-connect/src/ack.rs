//! Reading acknowledgements, as whatever system wrote them.

/// An acknowledgement, field by field. Absent fields are empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// MSA-1: AA, AE, AR, CA, CE or CR, or whatever was sent.
    pub code: String,
    /// MSA-2: control id of the message that is answered.
    pub control_id: String,
    /// MSA-3.
    pub text: String,
    /// One per ERR segment.
    pub errors: Vec<AckError>,
}

/// One ERR segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AckError {
    /// ERR-2, or ERR-1 of version 2.4 and before: `PID^1^7`.
    pub location: String,
    /// First component of ERR-3: `101`.
    pub code: String,
    /// ERR-4: E, W or I.
    pub severity: String,
    /// ERR-8, or else ERR-7, or else the second component of ERR-3.
    pub text: String,
}

impl Ack {
    /// True for AA and CA: the receiver has the message, and the sender may forget it. Anything else means keep it.
    #[must_use]
    pub fn is_positive(&self) -> bool {
        matches!(self.code.as_str(), "AA" | "CA")
    }

    /// True where this answers the message `control_id`, and not an earlier one.
    #[must_use]
    pub fn answers(&self, control_id: &str) -> bool {
        self.control_id == control_id
    }
}

/// Reads an acknowledgement without its framing. Segments may end in CR, LF or both; `None` where there is no MSA
/// segment with a code: no acknowledgement at all.
#[must_use]
pub fn parse_ack(bytes: &[u8]) -> Option<Ack> {
    let text = String::from_utf8_lossy(bytes);
    let mut segments = text.split(['\r', '\n']).map(str::trim_start);
    let header = segments.find(|segment| segment.starts_with("MSH"))?;
    let separator = header.chars().nth(3)?;
    let component = header.chars().nth(4).filter(|c| *c != separator).unwrap_or('^');
    let mut ack = None;
    let mut errors = Vec::new();
    for segment in segments {
        let fields: Vec<&str> = segment.split(separator).map(str::trim).collect();
        let field = |number: usize| fields.get(number).copied().unwrap_or_default();
        match field(0) {
            "MSA" if ack.is_none() && !field(1).is_empty() => {
                ack = Some(Ack {
                    code: field(1).to_owned(),
                    control_id: field(2).to_owned(),
                    text: field(3).to_owned(),
                    errors: Vec::new(),
                });
            }
            "ERR" => errors.push(AckError {
                location: first_of([field(2), field(1)]),
                code: part(field(3), component, 0).to_owned(),
                severity: field(4).to_owned(),
                text: first_of([field(8), field(7), part(field(3), component, 1)]),
            }),
            _ => {}
        }
    }
    ack.map(|ack| Ack { errors, ..ack })
}

/// The two bytes of MSA-1, without reading the rest: what a load generator counts.
pub(crate) fn code_of(ack: &[u8]) -> &[u8] {
    let found =
        memchr::memmem::find_iter(ack, b"MSA").find(|at| at.checked_sub(1).is_some_and(|i| is_line_end(ack, i)));
    found.and_then(|at| ack.get(at + 4..at + 6)).filter(|code| code.is_ascii()).unwrap_or_default()
}

fn is_line_end(bytes: &[u8], at: usize) -> bool {
    matches!(bytes.get(at), Some(b'\r' | b'\n'))
}

fn part(field: &str, component: char, number: usize) -> &str {
    field.split(component).nth(number).unwrap_or_default()
}

fn first_of<const N: usize>(candidates: [&str; N]) -> String {
    candidates.into_iter().find(|text| !text.is_empty()).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &str, wanted: Option<(&str, &str, &[[&str; 4]])>) {
        let ack = parse_ack(bytes.as_bytes());
        assert_eq!(ack.as_ref().map(|a| (a.code.as_str(), a.control_id.as_str())), wanted.map(|w| (w.0, w.1)));
        let errors: Vec<[&str; 4]> = ack
            .iter()
            .flat_map(|a| &a.errors)
            .map(|e| [e.location.as_str(), e.code.as_str(), e.severity.as_str(), e.text.as_str()])
            .collect();
        assert_eq!(errors, wanted.map_or(&[][..], |w| w.2), "{bytes}");
        let code = String::from_utf8_lossy(code_of(bytes.as_bytes())).into_owned();
        assert_eq!(code, wanted.map_or("", |w| w.0), "{bytes}");
    }

    #[test]
    fn as_systems_write_them() {
        check("MSH|^~\\&|A|B|C|D|20240101||ACK|1|P|2.4\rMSA|AA|77\r", Some(("AA", "77", &[])));
        check("MSH|^~\\&|A\nMSA|AE|77|text\n", Some(("AE", "77", &[])));
        check("MSH|^~\\&|A\r\nMSA|AR|\r\n", Some(("AR", "", &[])));
        check(
            "MSH|^~\\&|A\rMSA|AE|77\rERR||PID^1^7|102^Data type error|W|||month 13\r",
            Some(("AE", "77", &[["PID^1^7", "102", "W", "month 13"]])),
        );
        check(
            "MSH|^~\\&|A\rMSA|AE|77\rERR|PID^1^7\rERR||MSH^1^9|200^Unsupported|E\r",
            Some(("AE", "77", &[["PID^1^7", "", "", ""], ["MSH^1^9", "200", "E", "Unsupported"]])),
        );
    }

    #[test]
    fn what_is_no_acknowledgement() {
        check("", None);
        check("HTTP/1.1 400 Bad Request\r\n\r\n", None);
        check("MSH|^~\\&|A|B\rPID|1\r", None);
        assert_eq!(parse_ack(b"MSA|AA|1\r"), None);
        assert_eq!(parse_ack(b"MSH|^~\\&|A\rMSA||1\r"), None);
        assert!(!parse_ack(b"MSH|^~\\&|A\rMSA|AR|1\r").unwrap().is_positive());
    }
}
