//! Errors of the control thread as gRPC statuses: the code tells bad input from what could not be done, the message is
//! what a person reads.

use tonic::{Code, Status};

use crate::control::capture::CaptureError;
use crate::control::doctor::DoctorError;
use crate::control::flows::FlowsError;
use crate::control::picture::PictureError;
use crate::control::ping::PingError;
use crate::control::trace::TraceError;
use crate::control::{ApplyError, Stopped};

/// Longest message, bytes. It travels in an HTTP/2 header, percent-encoded, and a client takes a bounded header only.
const LONGEST_MESSAGE: usize = 16 << 10;

/// `error` for the caller.
pub(super) fn apply(error: &ApplyError) -> Status {
    let code = match error {
        ApplyError::Config(_) | ApplyError::TooMany(_) => Code::InvalidArgument,
        ApplyError::NoPort(_) => Code::NotFound,
        ApplyError::Restart(_) | ApplyError::Ports(_) | ApplyError::Connections(_) | ApplyError::Kept(_) => {
            Code::FailedPrecondition
        }
    };
    Status::new(code, bounded(&error.to_string()))
}

/// `error` for who wanted to ping.
pub(super) fn ping(error: &PingError) -> Status {
    let code = match error {
        PingError::NoPlace(_) => Code::NotFound,
        PingError::NoSource(..) | PingError::Own(_) | PingError::Shared { .. } => Code::InvalidArgument,
        PingError::NoPort => Code::FailedPrecondition,
        PingError::Capture(error) => return capture(error),
    };
    Status::new(code, bounded(&error.to_string()))
}

/// `error` for who asked for flows.
pub(super) fn flows(error: &FlowsError) -> Status {
    let code = match error {
        FlowsError::NoPort(_) => Code::NotFound,
        FlowsError::NoAnswer { .. } => Code::FailedPrecondition,
    };
    Status::new(code, error.to_string())
}

/// `error` for who asked for a trace.
pub(super) fn trace(error: &TraceError) -> Status {
    let code = match error {
        TraceError::NoPort(_) => Code::NotFound,
        TraceError::Expression(_) | TraceError::TooLong(_) => Code::InvalidArgument,
        TraceError::NoBuffers => Code::FailedPrecondition,
    };
    Status::new(code, bounded(&error.to_string()))
}

/// `error` for who asked the doctor.
pub(super) fn doctor(error: &DoctorError) -> Status {
    match error {
        DoctorError::Unknown(text) => Status::new(Code::NotFound, bounded(text)),
        DoctorError::Trace(error) => trace(error),
    }
}

/// `error` for who asked for frames.
pub(super) fn capture(error: &CaptureError) -> Status {
    let code = match error {
        CaptureError::NoPort(_) => Code::NotFound,
        CaptureError::TooMany | CaptureError::NoAnswer(..) => Code::FailedPrecondition,
    };
    Status::new(code, error.to_string())
}

/// `error` for who asked for tables.
pub(super) fn picture(error: &PictureError) -> Status {
    let code = match error {
        PictureError::NoRouter(..) | PictureError::NoNetwork(..) => Code::NotFound,
        PictureError::WhichRouter(_) => Code::InvalidArgument,
        PictureError::NoRoute(..) | PictureError::Unrouted => Code::FailedPrecondition,
    };
    Status::new(code, error.to_string())
}

/// Mistakes in a configuration or in arguments.
pub(super) fn config(errors: &shunt_config::ConfigErrors) -> Status {
    Status::new(Code::InvalidArgument, bounded(&errors.to_string()))
}

/// The control thread has ended.
pub(super) fn stopped(stopped: &Stopped) -> Status {
    Status::new(Code::Unavailable, stopped.to_string())
}

/// As many whole lines of `text` as fit, and how many do not.
fn bounded(text: &str) -> String {
    if text.len() <= LONGEST_MESSAGE {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut left_out = 0;
    for line in text.lines() {
        if left_out == 0 && kept.len() + line.len() < LONGEST_MESSAGE {
            kept.push_str(line);
            kept.push('\n');
        } else {
            left_out += 1;
        }
    }
    kept + &format!("and {left_out} more; correct these first")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_messages_are_whole_and_long_ones_end_at_a_line() {
        assert_eq!(bounded("a\nb"), "a\nb");
        let line = "x".repeat(1023);
        let text = vec![line.as_str(); 20].join("\n");
        let cut = bounded(&text);
        assert_eq!(cut.lines().count(), 17);
        assert!(cut.lines().take(16).all(|kept| kept == line));
        assert_eq!(cut.lines().last(), Some("and 4 more; correct these first"));
    }

    #[test]
    fn a_single_endless_line_is_left_out() {
        assert_eq!(bounded(&"x".repeat(LONGEST_MESSAGE + 1)), "and 1 more; correct these first");
    }

    #[test]
    fn codes_tell_bad_input_from_what_could_not_be_done() {
        assert_eq!(apply(&ApplyError::NoPort("x".into())).code(), Code::NotFound);
        assert_eq!(apply(&ApplyError::Restart(vec!["workers.count"])).code(), Code::FailedPrecondition);
        let errors = shunt_config::parse("[workers]\ncount = 0\n", "f.toml").unwrap_err();
        let status = apply(&ApplyError::Config(errors.clone()));
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.message(), errors.to_string());
        assert!(status.message().starts_with("f.toml:2:9: workers.count: "), "{}", status.message());
    }
}
