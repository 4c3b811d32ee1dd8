//! Who may come in, as a site, a route or the defaults say it.

use http::HeaderName;

use super::super::problem::Problems;
use super::super::setting::{FilePath, Named, Several, Switch, section};
use super::super::site::FieldName;
use super::super::units::Span;
use super::super::value::Text;
use super::{Credential, Layers, Opening, Policies, Realm, Url};
use crate::middleware::country::Code;
use crate::middleware::{self, forward_auth, headers, networks};

section! {
    /// Asks for a name and a password (RFC 7617). Passwords are kept as Argon2 hashes, which `sterna hash-password` makes.
    pub struct BasicAuth {
        /// What browsers show to people.
        pub realm: Realm = Realm("sterna".to_owned()),
        /// A file with a line such as `alice:$argon2id$…` for each who may come in. It is read again at a reload.
        pub file: Option<FilePath>,
        /// Such lines.
        pub users: Vec<Credential>,
    }
}

section! {
    /// Asks for a token of an issuer: a JWT in `Authorization: Bearer`. The keys come from `jwks_file` or `jwks_url`, and each
    /// key says which algorithm it is used with. `exp` must be there, and `nbf` is heeded.
    pub struct Jwt {
        /// The keys: a JSON Web Key Set. It is read again at a reload.
        pub jwks_file: Option<FilePath>,
        /// Where the keys are fetched: `https://`, or `http://` on this machine. They are used for twice the time of
        /// `refresh`; without any, nobody is let in and the answer is 503.
        pub jwks_url: Option<Url>,
        /// How long keys from a URL are fresh. A token with the name of an unknown key has them fetched before that, once in
        /// ten seconds at most.
        pub refresh: Span = Span(std::time::Duration::from_secs(600)),
        /// Who must have issued the token: one or several.
        pub issuer: Option<Several<Text>>,
        /// For whom it must be: one or several. Without it a token that is for somebody is refused.
        pub audience: Option<Several<Text>>,
        /// How far the clocks of the issuer and of this machine may differ, up to 10m.
        pub leeway: Span = Span(std::time::Duration::from_secs(60)),
        /// Claims that must be there.
        pub require: Vec<Text>,
        /// Claims that are handed on, and the fields for them, such as `{ sub = "x-user" }`. What a client sends in these
        /// fields itself is taken out.
        pub claims: Named<FieldName>,
    }
}

section! {
    /// Lets clients pass by country, as a MaxMind database tells it.
    pub struct Country {
        /// The database, such as `GeoLite2-Country.mmdb`. It is read again at a reload.
        pub file: FilePath,
        /// Those who may come in, by the letters of ISO 3166-1; whose country is not known may not.
        pub allow: Option<Several<Code>>,
        /// Those who may not; whose country is not known may.
        pub deny: Option<Several<Code>>,
    }
}

section! {
    /// Asks another server whether a request may pass. It gets a GET with the fields of the request and
    /// `X-Forwarded-Method`, `-Uri`, `-Host`, `-Proto`, `-For`; 2xx lets the request pass, any other answer is the client's.
    /// Without an answer the client gets 502, and 504 when it takes too long.
    pub struct ForwardAuth {
        /// Whom to ask.
        pub url: Url,
        /// How long the answer may take.
        pub timeout: Span = Span(std::time::Duration::from_secs(5)),
        /// Which fields of the request go with the question. Without it all.
        pub fields: Option<Vec<FieldName>>,
        /// Fields of the answer that the request gets, such as `["x-user"]`. What a client sends in them itself is taken out.
        pub copy: Vec<FieldName>,
    }
}

impl Policies {
    pub(super) fn check_access(&self, problems: &mut Problems) {
        let on = |policy: &Option<Switch<_>>| policy.as_ref().and_then(Switch::on).cloned();
        if let Some(basic) = on(&self.basic_auth) {
            let BasicAuth { file, users, at, .. } = &basic;
            if file.is_none() && users.is_empty() && at.written("users").is_none() {
                let help = "name a `file`, or write `users`";
                problems.contradiction(at.table(), "nobody could come in", help);
            }
        }
        if let Some(Switch::On(jwt)) = &self.jwt {
            jwt.check(problems);
        }
        if let Some(Switch::On(country)) = &self.country {
            let place = country.at.table();
            let is_written = |key: &str| country.at.written(key).is_some();
            match (&country.allow, &country.deny) {
                (Some(_), Some(_)) => problems.contradiction(
                    place,
                    "`allow` lets in nobody but its countries, and `deny` all but its own",
                    "leave one of them out",
                ),
                (None, None) if !["allow", "deny"].iter().any(|key| is_written(key)) => {
                    problems.contradiction(place, "no country is named", "write `allow` or `deny`");
                }
                _ => {}
            }
        }
    }
}

impl Jwt {
    fn check(&self, problems: &mut Problems) {
        let is_written = ["jwks_file", "jwks_url"].iter().any(|key| self.at.written(key).is_some());
        match (&self.jwks_file, &self.jwks_url) {
            (Some(_), Some(_)) => problems.contradiction(
                self.at.key("jwks_url"),
                "`jwks_file` and `jwks_url` both say where the keys are",
                "leave one of them out",
            ),
            (None, None) if !is_written => problems.contradiction(
                self.at.table(),
                "nothing says where the keys are",
                "write `jwks_url` or `jwks_file`",
            ),
            (None, Some(url)) if !url.is_safe() => problems.contradiction(
                self.at.key("jwks_url"),
                "anyone on the way could put keys of their own in place of these",
                "write `https://`",
            ),
            _ => {}
        }
        if self.leeway.0 > MAX_LEEWAY {
            let what = format!("`leeway` is {}, and tokens live as much longer", self.leeway);
            problems.contradiction(self.at.key("leeway"), &what, "write 10m at most");
        }
        if self.refresh.0.is_zero() {
            let what = "keys that are never fresh are fetched for every request";
            problems.contradiction(self.at.key("refresh"), what, "write a duration above zero");
        }
    }

    fn fields(&self) -> impl Iterator<Item = &HeaderName> {
        self.claims.iter().map(|(_, field)| &field.0)
    }
}

const MAX_LEEWAY: std::time::Duration = std::time::Duration::from_secs(600);

impl Layers<'_> {
    /// What the innermost table makes impossible together with those around it.
    pub(in crate::config) fn check_access(&self, problems: &mut Problems) {
        let Some(innermost) = self.0.last() else { return };
        let at =
            |keys: [&'static str; 2]| keys.into_iter().find_map(|key| innermost.at.written(key));
        let (basic, jwt) = (self.on(|p| p.basic_auth.as_ref()), self.on(|p| p.jwt.as_ref()));
        if let (Some(_), Some(_), Some(place)) = (basic, jwt, at(["jwt", "basic_auth"])) {
            problems.contradiction(
                place,
                "`basic_auth` and `jwt` both read `Authorization`, and no request has two of it",
                "leave one of them out, or write `false` for it where the other is wanted",
            );
        }
        let networks = self.networks();
        let denied = networks.allow.iter().find_map(|allowed| {
            let deny = networks.deny.iter().find(|deny| deny.covers(allowed))?;
            Some((allowed, deny))
        });
        if let (Some((allowed, deny)), Some(place)) = (denied, at(["allow", "deny"])) {
            let what = format!("`{allowed}` is allowed and all of it denied, by `{deny}`");
            problems.contradiction(place, &what, "take it out of one of the two");
        }
    }

    /// Nobody else may come in, in the one order: addresses, countries, passwords or tokens, another server's word.
    pub(super) fn access(&self, opening: &mut Opening<'_>) -> Vec<middleware::Config> {
        let networks = self.networks();
        let country = self.on(|policies| policies.country.as_ref());
        let basic = self.on(|policies| policies.basic_auth.as_ref());
        let jwt = self.on(|policies| policies.jwt.as_ref());
        let forward = self.on(|policies| policies.forward_auth.as_ref());
        let unproven = self.unproven(jwt, forward);
        let stations = [
            (!networks.is_empty()).then_some(middleware::Config::Networks(networks)),
            country.and_then(|country| opening.country(country)),
            (!unproven.request.is_empty()).then_some(middleware::Config::Headers(unproven)),
            basic.and_then(|basic| opening.basic_auth(basic)),
            jwt.and_then(|jwt| opening.jwt(jwt)),
            forward.map(ForwardAuth::build),
        ];
        stations.into_iter().flatten().collect()
    }

    fn networks(&self) -> networks::Config {
        let allow = self.last(|policies| policies.allow.as_ref());
        let deny = self.0.iter().filter_map(|policies| policies.deny.as_ref());
        networks::Config {
            allow: allow.map_or_else(Vec::new, |networks| networks.0.clone()),
            deny: deny.flat_map(|networks| networks.0.iter().copied()).collect(),
        }
    }

    /// The policy of the innermost that says anything of it, if that is not that there is none.
    fn on<'b, T>(&'b self, of: impl Fn(&'b Policies) -> Option<&'b Switch<T>>) -> Option<&'b T> {
        self.0.iter().rev().find_map(|policies| of(policies))?.on()
    }

    /// Takes out fields that an outer table's tokens or answers fill, where these are not asked for: whoever reads them
    /// takes them for proven.
    fn unproven(&self, jwt: Option<&Jwt>, forward: Option<&ForwardAuth>) -> headers::Config {
        let mut fields: Vec<HeaderName> = Vec::new();
        for policies in &self.0 {
            if let Some(Switch::On(jwt)) = &policies.jwt {
                fields.extend(jwt.fields().cloned());
            }
            if let Some(Switch::On(forward)) = &policies.forward_auth {
                fields.extend(forward.copy.iter().map(|field| field.0.clone()));
            }
        }
        let is_filled = |field: &HeaderName| {
            jwt.is_some_and(|jwt| jwt.fields().any(|one| one == field))
                || forward.is_some_and(|forward| forward.copy.iter().any(|one| one.0 == *field))
        };
        fields.retain(|field| !is_filled(field));
        let request = headers::Edit { remove: fields, ..headers::Edit::default() };
        headers::Config { request, ..headers::Config::default() }
    }
}

impl ForwardAuth {
    fn build(&self) -> middleware::Config {
        let names = |fields: &Vec<FieldName>| fields.iter().map(|field| field.0.clone()).collect();
        middleware::Config::ForwardAuth(forward_auth::Config {
            url: self.url.0.clone(),
            timeout: self.timeout.0,
            fields: self.fields.as_ref().map(names),
            copy: names(&self.copy),
        })
    }
}
