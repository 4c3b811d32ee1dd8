//! Who may come in: what can be written, what contradicts, what inner tables change, and that no secret is shown.

use std::fs;
use std::path::PathBuf;

use super::super::{Environment, Loaded};
use crate::middleware;
use crate::middleware::country::tests::database;

const HASH: &str =
    "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$hJk2wVu0dCoSXgHAR5oQpRJOzRkNHmSKqCFZdHRMSIc";
const KEYS: &str = r#"{"keys":[{"kty":"oct","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}]}"#;

/// Files that the configurations of a test name, taken away at its end.
struct Files(PathBuf);

impl Files {
    fn new(name: &str) -> Self {
        let folder =
            std::env::temp_dir().join(format!("sterna-access-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("users"), format!("alice:{HASH}\n")).expect("written");
        fs::write(folder.join("jwks.json"), KEYS).expect("written");
        let countries = database("Test-Country", &[("203.0.113.0/24", "DE")]);
        fs::write(folder.join("countries.mmdb"), countries).expect("written");
        Self(folder)
    }

    /// The stations of each route, by name, or what is wrong.
    fn build(&self, text: &str) -> Result<Vec<Vec<middleware::Config>>, String> {
        let text = text.replace("DIR", &self.0.display().to_string());
        let built = Loaded::of_text("sterna.toml", &text, &Environment::empty()).build();
        let built = built.map_err(|problems| problems.to_string())?;
        // Which is there without being asked for.
        let is_asked_for = |station: &middleware::Config| {
            !matches!(station, middleware::Config::Compress(_) | middleware::Config::EarlyData(_))
        };
        let stations = built.gateway.routes.into_iter().map(|route| route.middleware.into_iter());
        Ok(stations.map(|stations| stations.filter(is_asked_for).collect()).collect())
    }

    fn stations(&self, text: &str) -> Vec<String> {
        let routes = self.build(text).unwrap_or_else(|problems| panic!("{problems}"));
        let name = |station: &middleware::Config| {
            let shown = format!("{station:?}");
            shown.split('(').next().unwrap_or_default().to_owned()
        };
        routes.iter().map(|route| route.iter().map(name).collect::<Vec<_>>().join(" ")).collect()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const ALL: &str = r#"
[[site]]
respond = ""
forward_auth = { url = "http://127.0.0.1:9/verify", timeout = "2s", fields = ["cookie"], copy = ["x-user"] }
basic_auth = { realm = "Staff", file = "DIR/users" }
country = { file = "DIR/countries.mmdb", allow = ["DE", "FR"] }
deny = "10.0.0.7"
allow = ["10.0.0.0/8", "2001:db8::/32"]
body_size = "1KiB"
request_headers = { remove = ["x-secret"] }

[[site.route]]
path = "/api/*"
respond = ""
basic_auth = false
jwt = { jwks_file = "DIR/jwks.json", issuer = "a", audience = ["b"], leeway = "5s", require = ["sub"], claims = { sub = "x-sub" } }

[[site.route]]
path = "/open/*"
respond = ""
basic_auth = false
country = false
forward_auth = false
"#;

#[test]
fn the_order_is_that_of_the_gateway_whatever_is_written_first() {
    let files = Files::new("order");
    assert_eq!(
        files.stations(ALL),
        [
            "BodyLimit Networks Country BasicAuth ForwardAuth Headers",
            "BodyLimit Networks Country Jwt ForwardAuth Headers",
            "BodyLimit Networks Headers Headers",
        ]
    );
}

#[test]
fn an_inner_table_replaces_who_is_allowed_and_adds_who_is_denied() {
    let files = Files::new("networks");
    let text = "defaults.deny = '192.0.2.0/24'
        [[site]]
        respond = ''
        allow = '10.0.0.0/8'
        deny = '10.0.0.7'
        [[site.route]]
        path = '/a'
        respond = ''
        allow = '11.0.0.0/8'
        deny = '11.0.0.7'";
    let routes = files.build(text).unwrap_or_else(|problems| panic!("{problems}"));
    let shown: Vec<String> = routes
        .iter()
        .map(|route| match &route[..] {
            [middleware::Config::Networks(networks)] => {
                let list = |networks: &[sterna_net::Network]| {
                    networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
                };
                format!("{} but {}", list(&networks.allow), list(&networks.deny))
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        shown,
        [
            "10.0.0.0/8 but 192.0.2.0/24 10.0.0.7/32",
            "11.0.0.0/8 but 192.0.2.0/24 10.0.0.7/32 11.0.0.7/32",
        ]
    );
}

#[test]
fn fields_that_are_proven_elsewhere_are_taken_out_where_nobody_proves_them() {
    let files = Files::new("unproven");
    let routes = files.build(ALL).unwrap_or_else(|problems| panic!("{problems}"));
    let middleware::Config::Headers(open) = &routes[2][2] else { panic!("{:?}", routes[2]) };
    assert_eq!(open.request.remove, ["x-user"]);
    assert!(open.request.set.is_empty() && open.response.is_empty());
}

#[test]
fn what_contradicts_is_refused_with_its_reason() {
    let files = Files::new("contradictions");
    let jwt = "jwt = { jwks_file = 'DIR/jwks.json'";
    for (policies, expected) in [
        ("basic_auth = {}", "nobody could come in"),
        ("basic_auth = true", "nobody could come in"),
        ("country = true", "the key `file` is missing"),
        ("forward_auth = true", "the key `url` is missing"),
        ("mirror = true", "the key `proxy` is missing"),
        ("jwt = true", "nothing says where the keys are"),
        ("country = 'DE'", "expected a table"),
        ("basic_auth = { realm = 'a\"b', file = 'DIR/users' }", "is no realm"),
        ("basic_auth = { users = ['alice:secret'] }", "`alice:[redacted]` has no Argon2 hash"),
        ("basic_auth = { file = 'DIR/nothing' }", "the file of users cannot be read"),
        ("jwt = {}", "nothing says where the keys are"),
        ("jwt = { jwks_url = 'http://issuer.test/jwks' }", "anyone on the way"),
        ("jwt = { jwks_url = 'ftp://issuer.test/jwks' }", "is no URL"),
        ("jwt = { jwks_url = 'https://a:b@issuer.test/' }", "has a name or a password"),
        ("jwt = { jwks_url = 'https://a.test/', refresh = '0s' }", "never fresh"),
        ("jwt = { jwks_file = 'DIR/users' }", "it is no JSON Web Key Set"),
        ("jwt = { jwks_file = 'DIR/jwks.json', jwks_url = 'https://a.test/' }", "both say"),
        (&format!("{jwt}, leeway = '11m' }}"), "`leeway` is 11m"),
        (&format!("{jwt}, claims = {{ sub = 'a b' }} }}"), "is not the name of a header field"),
        (&format!("{jwt} }}\nbasic_auth = {{ file = 'DIR/users' }}"), "both read `Authorization`"),
        ("country = { file = 'DIR/countries.mmdb' }", "no country is named"),
        ("country = { file = 'DIR/countries.mmdb', allow = 'DE', deny = 'FR' }", "leave one"),
        ("country = { file = 'DIR/countries.mmdb', allow = 'de' }", "is not a country"),
        ("country = { file = 'DIR/users', allow = 'DE' }", "the database of countries"),
        ("allow = '10.1.0.0/16'\ndeny = '10.0.0.0/8'", "is allowed and all of it denied"),
        ("allow = []", "the list is empty"),
        ("forward_auth = {}", "url"),
        ("forward_auth = { url = '/verify' }", "is no URL"),
    ] {
        let text = format!("[[site]]\nrespond = ''\n{policies}");
        let told = files.build(&text).expect_err(policies);
        assert!(told.contains(expected), "{policies}: {told}");
        assert_eq!(told.matches("error:").count(), 1, "{policies}: {told}");
    }
}

#[test]
fn two_that_read_the_same_field_contradict_across_tables_and_not_when_one_is_off() {
    let files = Files::new("across");
    let text = |inner: &str| {
        format!(
            "[defaults]\nbasic_auth = {{ file = 'DIR/users' }}\n[[site]]\nrespond = ''\n{inner}jwt = {{ jwks_file = 'DIR/jwks.json' }}"
        )
    };
    let told = files.build(&text("")).expect_err("a contradiction");
    assert!(told.contains("both read `Authorization`") && told.contains("sterna.toml:5"), "{told}");
    assert_eq!(files.stations(&text("basic_auth = false\n")), ["Jwt"]);
}

#[test]
fn no_hash_is_shown_in_canonical_json_or_in_a_mistake() {
    let secret = &HASH[30..];
    let text = format!(
        "[[site]]\nrespond = ''\nbasic_auth.users = ['alice:{HASH}', '${{U:-bob:{HASH}}}', 'carol:x{HASH}']"
    );
    let told = Loaded::of_text("sterna.toml", &text, &Environment::empty()).model();
    let told = told.expect_err("carol's is none").to_string();
    let json = text.replace(&format!(", 'carol:x{HASH}'"), ", '${file:/run/carol}'");
    let environment = Environment { file: |_| Ok(format!("carol:{HASH}")), ..Environment::empty() };
    let model = Loaded::of_text("sterna.toml", &json, &environment).model();
    let model = model.unwrap_or_else(|problems| panic!("{problems}"));
    let shown = model.to_json().to_string();
    assert!(!shown.contains(secret) && !format!("{model:?}").contains(secret), "{shown}");
    for credential in ["alice:[redacted]", "bob:[redacted]", "${file:/run/carol}"] {
        assert!(shown.contains(credential), "{shown}");
    }
    assert!(told.contains("carol:[redacted]") && !told.contains(secret), "{told}");
    let syntax = format!("[[site]]\nusers = ['alice:{HASH}'");
    for (text, expected) in
        [(syntax.as_str(), "error"), (&text.replace("respond", "rspond"), "rspond")]
    {
        let told = Loaded::of_text("sterna.toml", text, &Environment::empty()).model();
        let told = told.expect_err("a mistake").to_string();
        assert!(told.contains(expected) && !told.contains(secret), "{told}");
    }
}

#[test]
fn a_password_in_place_of_its_hash_is_not_shown_either() {
    let text = "[[site]]\nrespond = ''\nbasic_auth = { users = ['alice:hunter2'], relm = 'a' }";
    let told = Loaded::of_text("sterna.toml", text, &Environment::empty()).model();
    let told = told.expect_err("two mistakes").to_string();
    assert!(told.contains("`alice:[redacted]` has no Argon2 hash"), "{told}");
    assert!(told.contains("did you mean `realm`?") && !told.contains("hunter2"), "{told}");
}
