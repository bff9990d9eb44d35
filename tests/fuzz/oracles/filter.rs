//! What must hold of the filters of `shunt tcpdump` and of what they read of a frame, whatever is typed and whatever comes.

use shunt_switch::control::capture::filter::Filter;
use shunt_switch::control::capture::headers::Headers;
use shunt_switch::worker::capture::Point;

/// How a case is written in bytes: the filter, a zero byte, a frame.
///
/// Panics when a property does not hold. True when the filter was taken.
pub(crate) fn check(input: &[u8]) -> bool {
    let mut parts = input.splitn(2, |byte| *byte == 0);
    let (text, frame) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let Ok(text) = std::str::from_utf8(text) else { return false };
    let filter = match Filter::parse(text) {
        Ok(filter) => filter,
        Err(error) => {
            assert!(!error.to_string().is_empty(), "refused without a word");
            return false;
        }
    };
    let whole = Headers::of(frame, frame.len() as u32);
    assert!(whole.payload <= 65_535 && whole.vlans.len() < 4);
    let negated = Filter::parse(&format!("not ({text})"));
    let either = Filter::parse(&format!("({text}) or not ({text})"));
    for point in [Point::Ingress, Point::Egress] {
        let taken = filter.takes(&whole, point);
        // They are longer, and deeper, than what was typed.
        if let (Ok(negated), false) = (&negated, text.trim().is_empty()) {
            assert_eq!(negated.takes(&whole, point), !taken, "{text:?}");
        }
        assert!(either.as_ref().map_or(true, |either| either.takes(&whole, point)), "{text:?}");
    }
    true
}
