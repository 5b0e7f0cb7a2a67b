//! The HTTP API asked directly: as a program with a token, as a browser with a session, as a stranger.

use anyhow::{Context, Result, ensure};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

use crate::server::Server;

/// Requests to the API of a server.
#[derive(Clone)]
pub struct Http {
    client: reqwest::Client,
    url: String,
    who: Who,
}

/// Who asks.
#[derive(Clone)]
enum Who {
    Stranger,
    Token(String),
    Session { cookie: String, csrf: String },
}

impl Http {
    /// A stranger.
    pub fn stranger(server: &Server) -> Result<Self> {
        // The crypto provider is the one every test of this process shares; who comes first sets it.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = reqwest::Client::builder().timeout(crate::process::PATIENCE).build().context("make a client")?;
        Ok(Self { client, url: server.http().to_owned(), who: Who::Stranger })
    }

    /// The owner of the admin file.
    pub fn admin(server: &Server) -> Result<Self> {
        let admin = std::fs::read(server.folder().join("data.admin.json")).context("read the admin file")?;
        let admin: Value = serde_json::from_slice(&admin).context("the admin file is JSON")?;
        let token = admin["token"].as_str().context("the admin file has a token")?;
        Ok(Self::stranger(server)?.with_token(token))
    }

    /// The same server, asked with a token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self { who: Who::Token(token.to_owned()), ..self.clone() }
    }

    /// The same server, asked by a user who logs in.
    pub async fn log_in(&self, name: &str, password: &str) -> Result<Self> {
        let body = json!({ "name": name, "password": password });
        let stranger = Self { who: Who::Stranger, ..self.clone() };
        stranger.with_session_of(stranger.request(Method::POST, "/api/v1/session").json(&body).send().await?).await
    }

    /// The same server, asked with the session that an answer began.
    pub async fn with_session_of(&self, answer: Response) -> Result<Self> {
        ensure!(answer.status().is_success(), "{}: {}", answer.status(), answer.text().await?);
        let cookie = answer.headers().get("set-cookie").context("it gives a cookie")?.to_str()?;
        let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        let shown: Value = answer.json().await?;
        let csrf = shown["csrf"].as_str().context("it gives a CSRF token")?.to_owned();
        Ok(Self { who: Who::Session { cookie, csrf }, ..self.clone() })
    }

    /// The session's secret, if a session asks.
    pub fn session_secret(&self) -> Option<&str> {
        match &self.who {
            Who::Session { cookie, .. } => cookie.split_once('=').map(|(_, secret)| secret),
            _ => None,
        }
    }

    /// A request, not yet sent.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method.clone(), format!("{}{path}", self.url));
        match &self.who {
            Who::Stranger => request,
            Who::Token(token) => request.bearer_auth(token),
            Who::Session { cookie, csrf } => {
                let request = request.header("cookie", cookie);
                if method == Method::GET { request } else { request.header("x-csrf-token", csrf) }
            }
        }
    }

    /// Status and JSON of an answer; null where it has none.
    pub async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(u16, Value)> {
        let mut request = self.request(method, path);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        Ok((status, serde_json::from_slice(&answer.bytes().await?).unwrap_or_default()))
    }

    /// The JSON of a GET that must succeed.
    pub async fn get(&self, path: &str) -> Result<Value> {
        let (status, json) = self.ask(Method::GET, path, None).await?;
        ensure!(status == 200, "GET {path}: {status} {json}");
        Ok(json)
    }
}
