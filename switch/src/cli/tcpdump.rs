//! `shunt tcpdump`: frames where they come in, go out or are dropped; as lines, or as pcapng to a file or a pipe.

mod lines;
mod pcapng;

use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::Path;

use super::Failure;
use super::client::Client;
use super::feed::Feed;
use super::options::Tcpdump;
use crate::control::api::proto;
use crate::control::capture::SNAPLEN;
use crate::control::capture::filter::Filter;
pub use lines::{Style, json, line};
pub use pcapng::Pcapng;

/// What is asked of the daemon.
///
/// # Errors
/// The filter is wrong.
pub fn request(wanted: &Tcpdump) -> Result<proto::CaptureRequest, Failure> {
    let filter = wanted.filter.join(" ");
    Filter::parse(&filter).map_err(|error| Failure::bad_input(format!("shunt: {error}")))?;
    // As tcpdump: `any` is every port, unless one is called so.
    let port = if wanted.port == "any" { String::new() } else { wanted.port.clone() };
    let snaplen = if wanted.snaplen == 0 { SNAPLEN as u32 } else { wanted.snaplen };
    Ok(proto::CaptureRequest { port, filter, snaplen })
}

/// Whether the options fit each other.
///
/// # Errors
/// JSON and pcapng at once.
pub fn check(wanted: &Tcpdump, json: bool) -> Result<(), Failure> {
    if json && wanted.write.is_some() {
        return Err(Failure::bad_input(
            "shunt: --json prints frames as lines, -w writes them as pcapng; give one of the two",
        ));
    }
    Ok(())
}

/// Where the frames go.
enum Sink {
    Lines(Style),
    /// One object a line.
    Json,
    Pcapng(Box<Pcapng<Box<dyn Write>>>),
}

impl Sink {
    fn of(wanted: &Tcpdump, json: bool) -> Result<Self, Failure> {
        let Some(path) = &wanted.write else {
            if json {
                return Ok(Self::Json);
            }
            return Ok(Self::Lines(Style { link: wanted.ethernet }));
        };
        let refused = |error: io::Error| {
            Failure::refused(format!(
                "{} cannot be written: {error}; name another file with -w",
                path.display()
            ))
        };
        let out: Box<dyn Write> = if path == Path::new("-") {
            Box::new(BufWriter::new(io::stdout()))
        } else {
            Box::new(BufWriter::new(File::create(path).map_err(refused)?))
        };
        Ok(Self::Pcapng(Box::new(Pcapng::new(out).map_err(refused)?)))
    }

    fn put(&mut self, frame: &proto::CapturedFrame) -> io::Result<()> {
        match self {
            Self::Lines(style) => writeln!(io::stdout().lock(), "{}", line(frame, *style)),
            Self::Json => writeln!(io::stdout().lock(), "{}", json(frame)),
            Self::Pcapng(file) => file.put(frame),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Lines(_) | Self::Json => io::stdout().lock().flush(),
            Self::Pcapng(file) => file.flush(),
        }
    }
}

/// What was seen until the end.
#[derive(Default)]
struct Seen {
    frames: u64,
    lost: u64,
    filtered: u64,
}

/// Captures until interrupted, until enough frames were seen, or until nobody reads any more.
pub(super) async fn run(
    client: &mut Client,
    request: proto::CaptureRequest,
    wanted: &Tcpdump,
    json: bool,
) -> Result<(), Failure> {
    let mut sink = Sink::of(wanted, json)?;
    let mut feed = Feed::of(client.capture(request).await?)?;
    let place = if wanted.port == "any" { "all ports" } else { &wanted.port };
    eprintln!("listening on {place}, link-type EN10MB (Ethernet), snapshot length {} bytes", wanted.snaplen);
    let mut seen = Seen::default();
    while let Some(message) = feed.next(client).await? {
        (seen.lost, seen.filtered) = (message.lost, message.filtered);
        match seen.take(&message.frames, wanted.count, &mut sink) {
            Ok(true) => {}
            Ok(false) => break,
            // Who read has read enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
            Err(error) => {
                return Err(Failure::refused(format!("the frames cannot be written: {error}")));
            }
        }
    }
    let Seen { frames, lost, filtered } = seen;
    eprintln!(
        "{frames} frames captured\n{filtered} frames left out by the filter\n{lost} frames lost for want of room"
    );
    Ok(())
}

impl Seen {
    /// Writes frames; false when there were enough.
    fn take(
        &mut self,
        frames: &[proto::CapturedFrame],
        count: Option<u64>,
        sink: &mut Sink,
    ) -> io::Result<bool> {
        for frame in frames {
            sink.put(frame)?;
            self.frames += 1;
            if count == Some(self.frames) {
                sink.flush()?;
                return Ok(false);
            }
        }
        sink.flush()?;
        Ok(true)
    }
}
