//! The admin API's listener. Only this machine is let in, and only with the token.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::AUTHORIZATION;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::file::AdminFile;
use super::routes::{self, Refused};
use crate::state::State;

/// Listens, on this machine alone.
pub(crate) async fn bind(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    if !address.ip().is_loopback() {
        let why = "the admin API is for this machine alone: choose a loopback address such as 127.0.0.1";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}

/// The admin API of a hub.
pub(crate) struct Server {
    listener: TcpListener,
    router: Router,
    file: PathBuf,
}

impl Server {
    /// Makes a token and writes it, with the address, to `file`.
    pub(crate) fn new(
        listener: TcpListener,
        address: SocketAddr,
        file: PathBuf,
        state: Arc<State>,
    ) -> io::Result<Self> {
        let admin = AdminFile::new(format!("http://{address}"));
        admin.write(&file)?;
        let token: Arc<str> = format!("Bearer {}", admin.token).into();
        let guard = middleware::from_fn(move |request: Request, next: Next| {
            let token = token.clone();
            async move { guarded(&token, request, next).await }
        });
        Ok(Self { listener, router: routes::router(state).layer(guard), file })
    }

    /// Serves until `stop`; then the file is gone.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let served = axum::serve(self.listener, self.router).with_graceful_shutdown(stop.cancelled_owned()).await;
        if let Err(error) = served {
            tracing::error!(%error, "the admin API has failed");
        }
        if let Err(error) = std::fs::remove_file(&self.file) {
            tracing::debug!(path = %self.file.display(), %error, "the admin file is not removed");
        }
    }
}

async fn guarded(token: &str, request: Request, next: Next) -> Response {
    let shown = request.headers().get(AUTHORIZATION).map_or(&[][..], |value| value.as_bytes());
    if bool::from(shown.ct_eq(token.as_bytes())) {
        return next.run(request).await;
    }
    Refused::new(
        StatusCode::UNAUTHORIZED,
        "unauthorized",
        "the admin API's token is missing or wrong",
        "send the token of admin.json in the hub's data folder as 'Authorization: Bearer TOKEN'",
    )
    .into_response()
}
