//! What policies name in the file system: opened once, however many routes have it.

use std::collections::{BTreeSet, HashMap};
use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use super::super::build::unusable;
use super::super::problem::{Place, Problems};
use super::super::proxy::Pseudonym;
use super::super::setting::{FilePath, Several};
use super::super::site::FieldName;
use super::super::value::Text;
use super::access::{BasicAuth, Country, Jwt};
use crate::middleware::country::Database;
use crate::middleware::{self, basic_auth, country, jwt};

/// Opens what policies name; what cannot be used is added to the problems.
pub(in crate::config) struct Opening<'a> {
    pub(in crate::config) problems: &'a mut Problems,
    /// What the server calls itself.
    pub(in crate::config) name: &'a Pseudonym,
    databases: HashMap<PathBuf, Option<Arc<Database>>>,
    key_sets: HashMap<PathBuf, Option<Arc<jwt::KeySet>>>,
    users: Vec<(BasicAuth, Option<Arc<basic_auth::Users>>)>,
    /// What was read, or was to be.
    pub(in crate::config) files: BTreeSet<PathBuf>,
}

impl<'a> Opening<'a> {
    pub(in crate::config) fn new(name: &'a Pseudonym, problems: &'a mut Problems) -> Self {
        let (databases, key_sets, users, files) = Default::default();
        Self { problems, name, databases, key_sets, users, files }
    }

    pub(super) fn country(&mut self, config: &Country) -> Option<middleware::Config> {
        self.files.insert(config.file.0.clone());
        let Self { problems, databases, .. } = self;
        let open = || match Database::open(&config.file.0) {
            Ok(database) => Some(Arc::new(database)),
            Err(error) => refuse(problems, config.at.key("file"), &error),
        };
        let database = databases.entry(config.file.0.clone()).or_insert_with(open).clone()?;
        let rule = match (&config.allow, &config.deny) {
            (Some(allow), _) => country::Rule::Allow(allow.0.clone()),
            (None, deny) => {
                country::Rule::Deny(deny.as_ref().map_or_else(Vec::new, |deny| deny.0.clone()))
            }
        };
        Some(middleware::Config::Country(country::Config { database, rule }))
    }

    pub(super) fn basic_auth(&mut self, config: &BasicAuth) -> Option<middleware::Config> {
        let users = match self.users.iter().find(|(opened, _)| opened == config) {
            Some((_, users)) => users.clone(),
            None => {
                let users = self.users(config);
                self.users.push((config.clone(), users.clone()));
                users
            }
        }?;
        let realm = config.realm.0.clone();
        Some(middleware::Config::BasicAuth(basic_auth::Config { realm, users }))
    }

    fn users(&mut self, config: &BasicAuth) -> Option<Arc<basic_auth::Users>> {
        self.files.extend(config.file.iter().map(|file| file.0.clone()));
        let lines: Vec<&str> = config.users.iter().map(|user| user.text()).collect();
        let users = match &config.file {
            Some(file) => basic_auth::Users::open(&file.0, &lines),
            None => basic_auth::Users::of(&lines),
        };
        match users {
            Ok(users) => Some(Arc::new(users)),
            Err(error) => refuse(self.problems, config.at.key("file"), &error),
        }
    }

    pub(super) fn jwt(&mut self, config: &Jwt) -> Option<middleware::Config> {
        let keys = match (&config.jwks_file, &config.jwks_url) {
            (Some(file), _) => jwt::Keys::Here(self.keys(config, file)?),
            (None, Some(url)) => {
                jwt::Keys::At(jwt::RemoteConfig { url: url.0.clone(), refresh: config.refresh.0 })
            }
            (None, None) => return None,
        };
        let texts = |several: &Option<Several<Text>>| {
            let all = several.iter().flat_map(|several| &several.0);
            all.map(|text| text.text.clone()).collect()
        };
        let claim = |(claim, field): (&String, &FieldName)| (claim.clone(), field.0.clone());
        Some(middleware::Config::Jwt(jwt::Config {
            keys,
            issuer: texts(&config.issuer),
            audience: texts(&config.audience),
            leeway: config.leeway.0.as_secs(),
            required: config.require.iter().map(|claim| claim.text.clone()).collect(),
            forward: config.claims.iter().map(claim).collect(),
        }))
    }

    fn keys(&mut self, config: &Jwt, file: &FilePath) -> Option<Arc<jwt::KeySet>> {
        self.files.insert(file.0.clone());
        let Self { problems, key_sets, .. } = self;
        let open = || {
            let place = config.at.key("jwks_file");
            let json = match fs::read(&file.0) {
                Ok(json) => json,
                Err(error) => return refuse(problems, place, &error),
            };
            match jwt::KeySet::parse(&json, true) {
                Ok(keys) => Some(Arc::new(keys)),
                Err(error) => refuse(problems, place, &error),
            }
        };
        key_sets.entry(file.0.clone()).or_insert_with(open).clone()
    }
}

fn refuse<T>(problems: &mut Problems, place: &Place, error: &dyn Error) -> Option<T> {
    problems.add(place, unusable(error));
    None
}
