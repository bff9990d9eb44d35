//! `shunt trace`: where a frame would go, table by table.

mod forms;

use std::fmt::Write as _;

use super::client::Client;
use super::options::Trace;
use super::{Failure, capture, output};
use crate::control::api::proto;
use crate::control::api::proto::trace_request::What;
use crate::control::trace::LONGEST;
use crate::control::trace::expression::Probe;
pub use forms::Form;

/// Bytes of a frame that are printed, in lines of so many.
const SHOWN: usize = 128;
const LINE: usize = 32;

/// What is asked of the daemon, checked as far as it can be without it.
///
/// # Errors
/// The expression, the digits or the capture are wrong.
pub fn request(wanted: &Trace) -> Result<proto::TraceRequest, Failure> {
    let wrong = |text: &dyn std::fmt::Display| Failure::bad_input(format!("shunt: {text}"));
    let form = Form::of(wanted)?;
    let what = match (form.expression, &wanted.hex, &wanted.pcap) {
        (Some(text), ..) => {
            Probe::parse(&text).map_err(|error| wrong(&error))?;
            What::Expression(text)
        }
        (_, Some(digits), _) => What::Raw(bytes(digits).map_err(|text| wrong(&text))?),
        (.., Some(path)) => What::Raw(capture::frame(path, wanted.packet)?),
        (None, None, None) => return Err(wrong(&"give an expression, --hex or --pcap")),
    };
    let network = form.network.unwrap_or_default();
    Ok(proto::TraceRequest { port: form.port, network, what: Some(what) })
}

/// The bytes of a frame in hexadecimal; blanks, colons and line ends do not matter.
fn bytes(digits: &str) -> Result<Vec<u8>, String> {
    let digits: Vec<u8> =
        digits.bytes().filter(|byte| !byte.is_ascii_whitespace() && *byte != b':').collect();
    let wrong =
        || "--hex takes an even number of hexadecimal digits: a frame from the ethernet header on".to_owned();
    if digits.is_empty() || digits.len() % 2 == 1 {
        return Err(wrong());
    }
    if digits.len() / 2 > LONGEST {
        return Err(format!("the frame has {} bytes; at most {LONGEST} can be traced", digits.len() / 2));
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    digits.chunks(2).map(pair).collect::<Option<_>>().ok_or_else(wrong)
}

/// Asks and prints.
pub(super) async fn run(
    client: &mut Client,
    request: proto::TraceRequest,
    json: bool,
) -> Result<(), Failure> {
    let named = |failure: Failure| match failure.message.strip_prefix("shunt: ") {
        Some(_) => failure,
        // What the daemon finds wrong with an expression has no place in a file to begin with.
        None => Failure { message: format!("shunt: {}", failure.message), ..failure },
    };
    let traced = client.trace(request).await.map_err(named)?;
    output(json, &traced, || text(&traced))
}

/// The trace, for people.
pub fn text(traced: &proto::Traced) -> String {
    let mut text = format!("generation {}: into {}", traced.generation, traced.port);
    if !traced.network.is_empty() {
        text.push_str(&format!(", network {}", traced.network));
    }
    text.push('\n');
    if let Some(before) = &traced.before {
        frame(&mut text, "frame", before);
    }
    for chosen in &traced.assumed {
        line(&mut text, "chosen", chosen);
    }
    if !traced.r#match.is_empty() {
        line(&mut text, "flow", &traced.r#match);
    }
    text.push('\n');
    for table in &traced.tables {
        text.push_str(&format!("{:>2}. {}\n", table.table, table.name));
        for step in &table.steps {
            text.push_str(&format!("    {step}\n"));
        }
    }
    if !traced.tables.is_empty() {
        text.push('\n');
    }
    for (number, step) in (1..).zip(&traced.steps) {
        line(&mut text, &format!("step {number}"), step);
    }
    if !traced.steps.is_empty() {
        text.push('\n');
    }
    line(&mut text, "actions", &traced.actions.join(", "));
    if let Some(after) = &traced.after {
        frame(&mut text, "frame", after);
    }
    line(&mut text, "verdict", &traced.verdict);
    for output in &traced.outputs {
        line(&mut text, "", &format!("{}: {}", output.port, output.outcome));
    }
    if !traced.r#match.is_empty() {
        let rests = traced.rests_on.join(", ");
        line(
            &mut text,
            "cache",
            &if traced.cacheable {
                format!("kept for the flow until one of these changes: {rests}")
            } else {
                "not kept: made anew for every such frame".to_owned()
            },
        );
    }
    for effect in &traced.effects {
        line(&mut text, "would", effect);
    }
    text
}

/// A line with a word in front.
fn line(text: &mut String, word: &str, rest: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "{word:<8} {rest}");
}

/// A frame: one line about it, then its first bytes.
fn frame(text: &mut String, word: &str, frame: &proto::TracedFrame) {
    line(text, word, &format!("{} bytes: {}", frame.length, frame.summary));
    let shown = frame.hex.as_bytes().get(..SHOWN * 2).unwrap_or(frame.hex.as_bytes());
    for digits in shown.chunks(LINE * 2) {
        line(text, "", &String::from_utf8_lossy(digits));
    }
    let left = (frame.length as usize).saturating_sub(SHOWN);
    if left > 0 {
        line(text, "", &format!("and {left} more bytes (--json has all)"));
    }
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn digits_become_bytes_however_they_are_set() {
        assert_eq!(bytes("02:00 0a\nFf").unwrap(), [2, 0, 10, 255]);
        for wrong in ["", "0", "0g", "0x00", "é0"] {
            assert!(bytes(wrong).unwrap_err().starts_with("--hex takes"), "{wrong:?}");
        }
        assert!(bytes(&"00".repeat(65_536)).unwrap_err().starts_with("the frame has 65536 bytes"));
        assert!(bytes(&"00".repeat(65_535)).is_ok());
    }
}
