//! Connect, request, response, and again: the two ends of the rows `crr-clusterip` and `http-clusterip`.
//!
//! `crr serve ADDRESS:PORT` answers one request on each connection: a line of HTTP gets a page, anything else one byte. `crr ask
//! ADDRESS:PORT --seconds N --clients N` connects, sends a byte, waits for the answer and closes, as netperf's TCP_CRR does, and
//! prints `transactions N failed N seconds N`. Exit codes: 0 done, 1 not, 2 bad arguments.
#![forbid(unsafe_code)]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

/// Who listens: so many wait for the next connection.
const SERVERS: usize = 4;
/// Nobody waits longer for the other side.
const PATIENCE: Duration = Duration::from_secs(3);
/// Longest request.
const REQUEST: usize = 4096;
const PAGE: &[u8] = b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 64\r\n\r\n\
    0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// One connection for every request.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    end: End,
}

#[derive(Subcommand)]
enum End {
    /// Answers.
    Serve {
        /// Where.
        address: SocketAddr,
    },
    /// Asks.
    Ask {
        /// Whom.
        address: SocketAddr,
        /// How long.
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
        seconds: u64,
        /// How many at a time.
        #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
        clients: u16,
    },
}

fn main() -> Result<()> {
    match Arguments::parse().end {
        End::Serve { address } => serve(address),
        End::Ask { address, seconds, clients } => {
            ask(address, Duration::from_secs(seconds), clients);
            Ok(())
        }
    }
}

fn serve(address: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(address).with_context(|| format!("listen at {address}"))?;
    println!("ready");
    std::thread::scope(|scope| {
        for _ in 0..SERVERS {
            scope.spawn(|| {
                // One that goes away early is its own affair.
                listener.incoming().flatten().for_each(|stream| drop(answer(stream)));
            });
        }
    });
    Ok(())
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut request = [0; REQUEST];
    let mut length = 0;
    loop {
        let more = stream.read(&mut request[length..])?;
        if more == 0 {
            return Ok(());
        }
        length += more;
        let said = &request[..length];
        if !said.starts_with(b"GET ") {
            stream.write_all(b"a")?;
            // The client closes first, and bears the waiting (RFC 9293 section 3.6).
            stream.read(&mut request).map(drop)?;
            return Ok(());
        }
        if said.ends_with(b"\r\n\r\n") || length == REQUEST {
            return stream.write_all(PAGE);
        }
    }
}

fn ask(address: SocketAddr, window: Duration, clients: u16) {
    let begin = Instant::now();
    let one = || {
        let (mut done, mut failed) = (0_u64, 0_u64);
        while begin.elapsed() < window {
            match transaction(address) {
                Ok(()) => done += 1,
                Err(_) => failed += 1,
            }
        }
        (done, failed)
    };
    let (done, failed) = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..clients).map(|_| scope.spawn(one)).collect();
        let counts = clients.into_iter().map(|client| client.join().unwrap_or((0, 1)));
        counts.fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1))
    });
    println!("transactions {done} failed {failed} seconds {:.3}", begin.elapsed().as_secs_f64());
}

fn transaction(address: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"q")?;
    let mut answer = [0];
    match stream.read(&mut answer)? {
        1 => Ok(()),
        _ => Err(ErrorKind::UnexpectedEof.into()),
    }
}
