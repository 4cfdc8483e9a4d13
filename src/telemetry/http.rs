//! The HTTP end: `/metrics`, `/ready` and `/healthz` for programs, `/sources` and `/explain?ADDRESS` for people.

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
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::metrics::Observatory;

/// Connections at a time; more wait in the listen queue.
const CONNECTIONS: usize = 16;
/// A connection serves one request, and is closed after so long whatever it is doing: a client that stops reading or
/// writing at any point holds its place no longer.
const PATIENCE: Duration = Duration::from_secs(5);

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
                    converse(stream, observatory, PATIENCE).await;
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

async fn converse<S>(stream: S, observatory: Arc<Observatory>, patience: Duration)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let answer = service_fn(|request: Request<Incoming>| {
        let observatory = observatory.clone();
        async move { Ok::<_, Infallible>(respond(&request, &observatory).await) }
    });
    let connection =
        hyper::server::conn::http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), answer);
    match timeout(patience, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "metrics: connection"),
        Err(_) => tracing::debug!("metrics: a client took too long"),
    }
}

async fn respond(request: &Request<Incoming>, observatory: &Observatory) -> Response<Full<Bytes>> {
    match (request.method(), request.uri().path()) {
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
        (&Method::GET | &Method::HEAD, "/healthz") => {
            let health = observatory.health();
            let status = if health.well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            reply(status, format!("{health}\n"), "text/plain")
        }
        (&Method::GET | &Method::HEAD, "/sources") => reply(StatusCode::OK, observatory.sources(), "text/plain"),
        (&Method::GET | &Method::HEAD, "/explain") => explain(request.uri().query(), observatory).await,
        (&Method::GET | &Method::HEAD, _) => reply(
            StatusCode::NOT_FOUND,
            "selvedge serves /metrics, /ready, /healthz, /sources and /explain?ADDRESS\n".into(),
            "text/plain",
        ),
        _ => reply(StatusCode::METHOD_NOT_ALLOWED, "GET only\n".into(), "text/plain"),
    }
}

async fn explain(query: Option<&str>, observatory: &Observatory) -> Response<Full<Bytes>> {
    let Some(address) = query.and_then(|q| q.parse().ok()) else {
        let text = "explain what? /explain?10.244.1.7 asks for one address\n".into();
        return reply(StatusCode::BAD_REQUEST, text, "text/plain");
    };
    match observatory.explain(address).await {
        Some(text) => reply(StatusCode::OK, text, "text/plain"),
        None => reply(StatusCode::SERVICE_UNAVAILABLE, "the gateway is about to end\n".into(), "text/plain"),
    }
}

fn reply(status: StatusCode, body: String, kind: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const SHORT: Duration = Duration::from_millis(100);

    fn observatory() -> Arc<Observatory> {
        Arc::new(Observatory::new(vec![], vec![], vec![]))
    }

    #[tokio::test]
    async fn a_request_is_answered() {
        let (mut client, server) = duplex(1 << 16);
        let server = tokio::spawn(converse(server, observatory(), Duration::from_secs(5)));
        client.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        assert!(text.starts_with("HTTP/1.1 200") && text.contains("selvedge_ready 0"), "{text}");
        server.await.unwrap();
    }

    #[tokio::test]
    async fn a_client_that_stops_at_any_point_is_let_go() {
        let said: [&[u8]; 4] = [
            b"",
            b"GET /metrics HTTP/1.1\r\nHo",
            // it never reads the answer, for which there is no room
            b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n12",
        ];
        for said in said {
            let (mut client, server) = duplex(64);
            let server = tokio::spawn(converse(server, observatory(), SHORT));
            client.write_all(said).await.unwrap();
            let began = Instant::now();
            let ended = timeout(20 * SHORT, server).await;
            let words = String::from_utf8_lossy(said);
            assert!(ended.is_ok(), "{words:?} holds its place after {:?}", began.elapsed());
        }
    }
}
