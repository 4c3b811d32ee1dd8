//! How the verbs find a running server, and talk to it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Method, Request, Response};
use serde_json::Value as Json;
use sterna_gateway::config::{AdminPlace, Environment, Loaded};
use sterna_net::local::{self, Place};

use super::default_directory;
use crate::command::DEFAULT_FILE;
use crate::error::Error;

/// Which server is meant.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Which {
    /// Where its operator's interface is: `unix:PATH`, or an address and a port. Default: what the configuration
    /// says, else the one server that this user runs.
    #[arg(long, value_name = "PLACE")]
    admin: Option<AdminPlace>,

    /// The configuration that it was started with. Default: `sterna.toml` in the working directory, if it is there.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// A running server.
pub(crate) struct Server {
    place: Place,
    token: Option<String>,
}

impl Which {
    /// Its configuration.
    pub(crate) fn config(&self) -> Option<PathBuf> {
        let of_directory = || Path::new(DEFAULT_FILE).exists().then(|| DEFAULT_FILE.into());
        self.config.clone().or_else(of_directory)
    }

    /// Finds it.
    pub(crate) fn find(&self) -> Result<Server, Error> {
        let (mut named, mut token) = (self.admin.clone(), None);
        if let Some(file) = self.config() {
            let loaded = Loaded::of_file(&file, &Environment::of_process());
            match loaded.model() {
                Ok(model) => {
                    token = model.admin.secret().map(str::to_owned);
                    named = named.or(model.admin.listen);
                }
                // A file with mistakes is no reason not to find the server: its reload will tell them.
                Err(problems) if self.config.is_some() && named.is_none() => {
                    tracing::warn!(
                        "the configuration has mistakes, and is not asked where the server is"
                    );
                    drop(problems);
                }
                Err(_) => {}
            }
        }
        let place = match named {
            Some(AdminPlace::Off) => return Err(Error::AdminOff),
            Some(AdminPlace::Unix(path)) => Place::Unix(path),
            Some(AdminPlace::At(listen)) => {
                let address = listen.resolve()?.into_iter().next().ok_or(Error::NotRunning)?;
                Place::Tcp(address)
            }
            None => only_one(&default_directory())?,
        };
        Ok(Server { place, token })
    }
}

/// The one socket of this directory behind which a server is.
fn only_one(directory: &Path) -> Result<Place, Error> {
    let mut living = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_socket = path.extension().is_some_and(|extension| extension == "sock");
        if is_socket && std::os::unix::net::UnixStream::connect(&path).is_ok() {
            living.push(path);
        }
    }
    living.sort();
    match &living[..] {
        [] => Err(Error::NotRunning),
        [one] => Ok(Place::Unix(one.clone())),
        several => Err(Error::SeveralRun(several.to_vec())),
    }
}

impl Server {
    /// Asks it something; an answer that is an error is one.
    pub(crate) fn ask(
        &self,
        method: Method,
        path: &str,
        patience: Duration,
    ) -> Result<Json, Error> {
        let response = self.send(method, path, patience)?;
        let json: Json = serde_json::from_slice(response.body()).unwrap_or(Json::Null);
        if response.status().is_success() {
            return Ok(json);
        }
        // The mistakes of a configuration, with their places, as `check` shows them.
        let text = json["text"].as_str().or(json["error"].as_str());
        let told = text.map_or_else(|| response.status().to_string(), str::to_owned);
        // What is told here is begun so by whoever shows it.
        let told = told.strip_prefix("error: ").unwrap_or(&told).to_owned();
        let help = json["help"].as_str().map(str::to_owned);
        Err(Error::Refused { told, help })
    }

    fn send(
        &self,
        method: Method,
        path: &str,
        patience: Duration,
    ) -> Result<Response<Bytes>, Error> {
        let mut request = Request::new(Bytes::new());
        *request.method_mut() = method;
        if let Ok(uri) = path.parse() {
            *request.uri_mut() = uri;
        }
        if let Some(token) = &self.token
            && let Ok(value) = format!("Bearer {token}").parse()
        {
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        local::ask(&self.place, request, patience).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                Error::NobodyThere { place: self.place.to_string() }
            }
            _ => Error::Asked { place: self.place.to_string(), source },
        })
    }
}
