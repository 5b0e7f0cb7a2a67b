//! The way to a running server: its address and a token, and the requests.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use hubward_api::shapes::Page;
use hubward_model::Problem;
use reqwest::header::IF_MATCH;
use reqwest::{Method, RequestBuilder, Response};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Failure;
use crate::config::Layers;
use crate::config::settings::beside;
use crate::server::admin_file::AdminFile;

/// How long a request may take; creating an integration asks the hub many times.
const REQUEST_LIMIT: Duration = Duration::from_secs(300);
/// How long the server may take to answer the call.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Which server to talk to.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Which server")]
pub struct ApiArgs {
    /// Address of the server's API [default: what DATA.admin.json says]
    #[arg(long, env = "HUBWARD_URL", hide_env_values = true, value_name = "URL", global = true)]
    pub url: Option<String>,
    /// Token for it [default: what DATA.admin.json says]
    #[arg(long, env = "HUBWARD_TOKEN", hide_env_values = true, value_name = "TOKEN", global = true)]
    pub token: Option<String>,
    /// Certificate (PEM) to trust for it, besides the public ones
    #[arg(long, env = "HUBWARD_CA", hide_env_values = true, value_name = "FILE", global = true)]
    pub ca: Option<PathBuf>,
    /// Data folder of a server on this machine [default: as configured, else ./hubward-data]
    #[arg(long, env = "HUBWARD_DATA", hide_env_values = true, value_name = "FOLDER", global = true)]
    pub data: Option<PathBuf>,
}

impl ApiArgs {
    /// The data folder that is meant.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        if let Some(data) = &self.data {
            return data.clone();
        }
        // What the server that runs as a service was told; if that cannot be read it was not started from here.
        let layers = Layers::read(None, std::iter::empty(), &[]).ok();
        let data =
            layers.as_ref().and_then(|layers| layers.get("data").0.first()).map_or("hubward-data", String::as_str);
        PathBuf::from(data)
    }

    /// A client for the server that is meant.
    pub fn client(&self) -> Result<Client, Failure> {
        let ca = self.ca.as_deref().map(|file| super::secrets::read_text(file, "certificate")).transpose()?;
        let client = |url: &str, token| Client::trusting(url, token, ca.as_deref());
        if let (Some(url), Some(token)) = (&self.url, &self.token) {
            return client(url, SecretString::from(token.clone()));
        }
        let path = beside(&self.data(), "admin.json");
        let file = AdminFile::read(&path).map_err(|error| no_admin_file(&path, &error))?;
        match (&self.url, &self.token) {
            // The file's token is for the file's server and is shown to no other.
            (Some(url), None) if url.trim_end_matches('/') != file.url.trim_end_matches('/') => {
                Err(Failure::usage(format!("there is no token for {url}"), "give one with HUBWARD_TOKEN or --token"))
            }
            (Some(url), None) => client(url, file.token),
            (None, Some(token)) => client(&file.url, SecretString::from(token.clone())),
            (_, _) => client(&file.url, file.token),
        }
    }
}

fn no_admin_file(path: &Path, error: &std::io::Error) -> Failure {
    let message = if error.kind() == std::io::ErrorKind::NotFound {
        format!("no server has been started with this data folder: {} is not there", path.display())
    } else {
        format!("{} cannot be read: {error}", path.display())
    };
    Failure::new(
        "no_server",
        message,
        "start one with 'hubward up', or say which with --data FOLDER, or with --url and HUBWARD_TOKEN",
    )
}

/// Requests to the API.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: SecretString,
}

impl Client {
    /// A client for the server at `url`.
    pub fn new(url: &str, token: SecretString) -> Result<Self, Failure> {
        Self::trusting(url, token, None)
    }

    /// The same, with a certificate (PEM) to trust besides the public ones.
    pub fn trusting(url: &str, token: SecretString, ca: Option<&str>) -> Result<Self, Failure> {
        let base = url.trim_end_matches('/').to_owned();
        if !base.starts_with("http://") && !base.starts_with("https://") {
            return Err(Failure::usage(
                format!("{url:?} is no address of an API"),
                "write it as http://127.0.0.1:8080 or https://hubward.example",
            ));
        }
        let tls = hubward_iothub::tls::client_config(ca)
            .map_err(|error| Failure::usage(error.to_string(), "give the certificate as PEM text with --ca"))?;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .connect_timeout(CONNECT_LIMIT)
            .no_proxy()
            .build()
            .map_err(|error| Failure::unexpected("starting the HTTP client", error))?;
        Ok(Self { http, base, token })
    }

    /// The server's address.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// GET, with a query.
    pub async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, String)]) -> Result<T, Failure> {
        self.answer(self.request(Method::GET, path).query(query)).await
    }

    /// A whole list, part by part.
    pub async fn all<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, Failure> {
        self.all_of(path, &[]).await
    }

    /// All of a list that a filter lets through, part by part.
    pub async fn all_of<T: DeserializeOwned>(&self, path: &str, filter: &[(&str, String)]) -> Result<Vec<T>, Failure> {
        let mut all = Vec::new();
        let mut query = filter.to_vec();
        query.push(("limit", "1000".to_owned()));
        let fixed = query.len();
        loop {
            let page: Page<T> = self.get(path, &query).await?;
            all.extend(page.items);
            let Some(next) = page.next else { return Ok(all) };
            query.truncate(fixed);
            query.push(("cursor", next));
        }
    }

    /// POST, PATCH or PUT of a JSON body.
    pub async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        let mut request = self.request(method.clone(), path).json(body);
        if method == Method::PATCH {
            // The command names what to change; it holds for whatever the rest is now.
            request = request.header(IF_MATCH, "*");
        }
        self.answer(request).await
    }

    /// POST without a body.
    pub async fn post<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.answer(self.request(Method::POST, path)).await
    }

    /// DELETE, with a query.
    pub async fn delete<T: DeserializeOwned>(&self, path: &str, query: &[(&str, String)]) -> Result<T, Failure> {
        self.answer(self.request(Method::DELETE, path).query(query)).await
    }

    /// DELETE whose answer says nothing more.
    pub async fn delete_quietly(&self, path: &str) -> Result<(), Failure> {
        self.checked(self.request(Method::DELETE, path)).await.map(|_| ())
    }

    /// GET of an answer that goes on for as long as it likes.
    pub async fn stream(&self, path: &str, query: &[(&str, String)]) -> Result<Response, Failure> {
        let request = self.http.get(format!("{}{path}", self.base)).bearer_auth(self.token.expose_secret());
        self.checked(request.query(query)).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("{}{path}", self.base))
            .bearer_auth(self.token.expose_secret())
            .timeout(REQUEST_LIMIT)
    }

    async fn answer<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Failure> {
        let response = self.checked(request).await?;
        let bytes = response.bytes().await.map_err(|error| self.broken(&error))?;
        serde_json::from_slice(&bytes).map_err(|error| {
            Failure::new(
                "not_understood",
                format!("the answer of {} is not understood: {error}", self.base),
                "use a hubward of the same version as the server",
            )
        })
    }

    async fn checked(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = request.send().await.map_err(|error| self.broken(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let bytes = response.bytes().await.unwrap_or_default();
        Err(match serde_json::from_slice::<Problem>(&bytes) {
            Ok(problem) => problem.into(),
            Err(_) => Failure::new(
                "not_understood",
                format!("{} answered {status}, and not as a hubward does", self.base),
                "check the address",
            ),
        })
    }

    fn broken(&self, error: &reqwest::Error) -> Failure {
        if error.is_timeout() && !error.is_connect() {
            return Failure::new("no_answer", format!("{} did not answer in time", self.base), "look at its log");
        }
        let mut reason: &dyn std::error::Error = error;
        while let Some(source) = reason.source() {
            reason = source;
        }
        Failure::new(
            "no_server",
            format!("no server answers at {}: {reason}", self.base),
            "start it with 'hubward up', or name another with --url",
        )
    }
}

/// A name as a part of a path.
#[must_use]
pub fn segment(name: &str) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~') || (byte == b'.' && name.len() > 2) {
            text.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_blanks_and_letters_is_one_segment() {
        assert_eq!(segment("Jim's board"), "Jim%27s%20board");
        assert_eq!(segment("ü?"), "%C3%BC%3F");
        assert_eq!(segment("a.b"), "a.b");
        assert_eq!(segment(".."), "%2E%2E");
    }

    #[test]
    fn the_token_in_the_file_is_never_sent_to_another_server() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("d");
        AdminFile { url: "http://127.0.0.1:1".into(), token: "s3cret".to_owned().into() }
            .write(&beside(&data, "admin.json"))
            .unwrap();
        let args =
            |url: Option<&str>| ApiArgs { url: url.map(Into::into), token: None, ca: None, data: Some(data.clone()) };
        assert_eq!(args(None).client().unwrap().base(), "http://127.0.0.1:1");
        assert!(args(Some("http://127.0.0.1:1/")).client().is_ok());
        let problem = args(Some("http://elsewhere:1")).client().unwrap_err().problem.unwrap();
        assert!(problem.message.contains("no token") && !problem.message.contains("s3cret"));
    }
}
