//! Who may come in by country, as a MaxMind database tells it: 403 for all others.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use maxminddb::{MaxMindDbError, Reader, path};

use super::{Middleware, Step};
use crate::Request;
use crate::error::Error;
use crate::exchange::Exchange;

/// Configuration of `country`.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where countries are looked up.
    pub database: Arc<Database>,
    /// Who passes.
    pub rule: Rule,
}

/// Who passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// These countries and nobody else, whose is not known neither.
    Allow(Vec<Code>),
    /// All but these countries; so does whose is not known.
    Deny(Vec<Code>),
}

/// A country by the two letters of ISO 3166-1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Code([u8; 2]);

/// Why a text is no country.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a country: write the two capital letters of ISO 3166-1, such as `DE`")]
pub struct NotACountry;

impl std::str::FromStr for Code {
    type Err = NotACountry;

    fn from_str(text: &str) -> Result<Self, NotACountry> {
        let letters: [u8; 2] = text.as_bytes().try_into().map_err(|_| NotACountry)?;
        letters.iter().all(u8::is_ascii_uppercase).then_some(Self(letters)).ok_or(NotACountry)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.0).unwrap_or_default())
    }
}

/// A database of countries, whole in memory: a file that is replaced later is read at the next reload.
pub struct Database(Reader<Vec<u8>>);

/// Why a file is no database of countries.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// It cannot be read, or is none.
    #[error("the database of countries cannot be used")]
    Unusable(#[source] MaxMindDbError),
    /// It is of something else, such as networks' names.
    #[error("the database is of type `{0}`, and not of countries or cities")]
    OfSomethingElse(String),
}

impl Database {
    /// Reads a file such as `GeoLite2-Country.mmdb`.
    ///
    /// # Errors
    /// When it is no database of countries.
    pub fn open(path: &Path) -> Result<Self, DatabaseError> {
        let read = std::fs::read(path).map_err(MaxMindDbError::from);
        Self::of_bytes(read.map_err(DatabaseError::Unusable)?)
    }

    /// The same, of what was read already.
    ///
    /// # Errors
    /// When it is no database of countries.
    pub fn of_bytes(bytes: Vec<u8>) -> Result<Self, DatabaseError> {
        let reader = Reader::from_source(bytes).map_err(DatabaseError::Unusable)?;
        let kind = &reader.metadata().database_type;
        let is_of_countries = ["Country", "City", "Enterprise"].iter().any(|of| kind.contains(of));
        if !is_of_countries {
            return Err(DatabaseError::OfSomethingElse(kind.clone()));
        }
        Ok(Self(reader))
    }

    /// The country where an address is, else the one where its network is registered.
    fn country(&self, address: IpAddr) -> Option<Code> {
        let found = self.0.lookup(address).ok()?;
        let code = |of: &str| found.decode_path::<&str>(&path![of, "iso_code"]).ok().flatten();
        code("country").or_else(|| code("registered_country"))?.parse().ok()
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Database").field(&self.0.metadata().database_type).finish()
    }
}

impl Config {
    pub(crate) fn build(&self) -> Country {
        Country { config: self.clone() }
    }
}

/// Lets clients of some countries pass.
#[derive(Debug)]
pub(crate) struct Country {
    config: Config,
}

impl Middleware for Country {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange, request: &'a mut Request) -> Step<'a> {
        let client = exchange.client(request);
        let country = client.and_then(|client| self.config.database.country(client));
        let passes = match &self.config.rule {
            Rule::Allow(countries) => country.is_some_and(|code| countries.contains(&code)),
            Rule::Deny(countries) => country.is_none_or(|code| !countries.contains(&code)),
        };
        if passes { Step::pass() } else { Step::refuse(Error::Denied) }
    }
}

#[cfg(test)]
pub(crate) mod tests;
