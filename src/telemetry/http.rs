//! The HTTP end: `/metrics` and `/ready`.

use core::convert::Infallible;
use core::net::SocketAddr;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::metrics::Observatory;

/// Connections at a time; more wait in the listen queue.
const CONNECTIONS: usize = 16;
/// A connection that says nothing for so long is closed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Listens on `address`.
///
/// # Errors
/// What bind(2) says, with the address.
pub async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .map_err(|e| io::Error::new(e.kind(), format!("cannot listen on {address} for metrics: {e}")))
}

/// Serves until it is dropped.
pub async fn serve(listener: TcpListener, observatory: Arc<Observatory>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let observatory = observatory.clone();
                tokio::spawn(async move {
                    converse(stream, observatory).await;
                    drop(place);
                });
            }
            // out of file descriptors, say: somebody may close one
            Err(error) => {
                tracing::warn!(%error, "metrics: accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, observatory: Arc<Observatory>) {
    let answer = service_fn(|request: Request<Incoming>| {
        let response = respond(request.method(), request.uri().path(), &observatory);
        async move { Ok::<_, Infallible>(response) }
    });
    let result = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), answer)
        .await;
    if let Err(error) = result {
        tracing::debug!(%error, "metrics: connection");
    }
}

fn respond(method: &Method, path: &str, observatory: &Observatory) -> Response<Full<Bytes>> {
    match (method, path) {
        (&Method::GET | &Method::HEAD, "/metrics") => match observatory.exposition() {
            Ok(text) => reply(StatusCode::OK, text, prometheus::TEXT_FORMAT),
            Err(e) => reply(StatusCode::INTERNAL_SERVER_ERROR, format!("{e}\n"), "text/plain"),
        },
        (&Method::GET | &Method::HEAD, "/ready") => {
            let mut ready = false;
            observatory.update(|slow| ready = slow.ready);
            match ready {
                true => reply(StatusCode::OK, "ready\n".into(), "text/plain"),
                false => reply(StatusCode::SERVICE_UNAVAILABLE, "not ready\n".into(), "text/plain"),
            }
        }
        (&Method::GET | &Method::HEAD, _) => {
            reply(StatusCode::NOT_FOUND, "selvedge serves /metrics and /ready\n".into(), "text/plain")
        }
        _ => reply(StatusCode::METHOD_NOT_ALLOWED, "GET only\n".into(), "text/plain"),
    }
}

fn reply(status: StatusCode, body: String, kind: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
