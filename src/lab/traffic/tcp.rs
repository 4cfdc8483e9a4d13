//! A bulk transfer over TCP, with the bytes checked.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::payload::{Digest, Stream};
use crate::lab::{Doing, LabError, Namespace};

/// How long nothing at all may happen.
const STALL: Duration = Duration::from_secs(4);
/// How long the whole transfer may take.
const LIMIT: Duration = Duration::from_secs(60);
const BLOCK: usize = 64 * 1024;

/// What became of a transfer. One that stalled has fewer bytes than were asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Transfer {
    /// Bytes that arrived.
    pub bytes: u64,
    /// Seconds from the connection to the last byte.
    pub seconds: f64,
    /// True when everything arrived and the digests of both ends agree.
    pub hash_ok: bool,
}

impl Transfer {
    /// Payload megabits a second.
    pub fn megabits_per_second(&self) -> f64 {
        if self.seconds > 0.0 { self.bytes as f64 * 8.0 / 1e6 / self.seconds } else { 0.0 }
    }
}

/// Sends `bytes` from one namespace to a listener in another, which is reached at `dst`.
///
/// # Errors
/// Only when the lab itself fails. A path that carries nothing gives a report with zero bytes.
pub fn tcp_transfer(
    from: &Namespace,
    to: &Namespace,
    dst: impl Into<IpAddr>,
    bytes: u64,
) -> Result<Transfer, LabError> {
    let dst = dst.into();
    let saying = || format!("listening in {}", to.name());
    let listener = to.run(|| TcpListener::bind((dst, 0)))?.doing(saying)?;
    let target = listener.local_addr().doing(saying)?;
    listener.set_nonblocking(true).doing(saying)?;
    thread::scope(|scope| {
        let receiver = scope.spawn(|| receive(&listener, bytes));
        // A connection keeps the namespace of its socket: only the call to `connect` has to be made inside.
        let sent = from.run(|| TcpStream::connect_timeout(&target, STALL))?.and_then(|stream| send(stream, bytes));
        let (received, digest, seconds) =
            receiver.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).unwrap_or_default();
        let hash_ok = received == bytes && sent.is_ok_and(|sent| sent == digest);
        Ok(Transfer { bytes: received, seconds, hash_ok })
    })
}

fn send(mut stream: TcpStream, bytes: u64) -> io::Result<u64> {
    stream.set_write_timeout(Some(STALL))?;
    let deadline = Instant::now() + LIMIT;
    let (mut source, mut digest, mut left) = (Stream::new(bytes), Digest::default(), bytes);
    let mut block = vec![0; BLOCK];
    while left > 0 && Instant::now() < deadline {
        let part = &mut block[..left.min(BLOCK as u64) as usize];
        source.fill(part);
        digest.update(part);
        stream.write_all(part)?;
        left -= part.len() as u64;
    }
    stream.shutdown(Shutdown::Write)?;
    Ok(digest.finish())
}

fn receive(listener: &TcpListener, bytes: u64) -> io::Result<(u64, u64, f64)> {
    let mut stream = accept(listener)?;
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(STALL))?;
    let (start, deadline) = (Instant::now(), Instant::now() + LIMIT);
    let (mut digest, mut received) = (Digest::default(), 0);
    let mut block = vec![0; BLOCK];
    while Instant::now() < deadline && received <= bytes {
        match stream.read(&mut block) {
            Ok(0) | Err(_) => break,
            Ok(n) => {
                digest.update(&block[..n]);
                received += n as u64;
            }
        }
    }
    Ok((received, digest.finish(), start.elapsed().as_secs_f64()))
}

/// Accepts one connection, or gives up when the connecting side has, too.
fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    let deadline = Instant::now() + STALL + Duration::from_millis(200);
    while Instant::now() < deadline {
        match listener.accept() {
            Ok((stream, _)) => return Ok(stream),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => thread::sleep(Duration::from_millis(1)),
            Err(e) => return Err(e),
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}
