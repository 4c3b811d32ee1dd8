//! Which routes there may be, and what of a route comes before what of its site.

use super::*;

#[test]
fn a_route_that_only_a_version_takes_that_is_off_is_refused() {
    let of = |top: &str, versions: &str| {
        let route = format!("[[site.route]]\npath = '/x'\nrespond = ''\nprotocol = {versions}");
        mistakes(&format!("{top}\n[[site]]\nrespond = ''\n{route}"))
    };
    let refused = ["no request takes this route: HTTP/3 is off"];
    assert_eq!(of("http3 = false", "'HTTP/3'"), refused);
    assert_eq!(of("http3 = false", "['HTTP/2', 'HTTP/3']"), [""; 0]);
    assert_eq!(of("", "'HTTP/3'"), [""; 0]);
}

#[test]
fn a_redirect_to_itself_is_refused_and_one_that_another_route_takes_is_not() {
    let route =
        |path: &str, to: &str| format!("[[site.route]]\npath = '{path}'\nredirect = '{to}'\n");
    let site = |rest: &str| mistakes(&format!("[[site]]\nhost = 'a.test'\n{rest}")).len();
    for (path, to, count) in [
        ("/a", "/a", 1),
        ("/a", "https://a.test/%61?x=1", 1),
        ("/a", "https://a.test:443{path}", 1),
        ("/a/*", "/a/b", 1),
        ("/*", "https://{host}{path}{query}", 1),
        ("/users/{id}", "/users/me", 1),
        ("/a", "/a/", 0),
        ("/a", "/b", 0),
        ("/a/*", "/b{path}", 0),
        ("/a", "https://b.test/a", 0),
        ("/a", "http://a.test:8080/a", 0),
    ] {
        assert_eq!(site(&route(path, to)), count, "{path} to {to}");
    }
    assert_eq!(site("redirect = '/new'"), 1);
    assert_eq!(site("redirect = '/new'\n[[site.route]]\npath = '/new'\nrespond = ''"), 0);
    assert_eq!(site("redirect = { to = 'https://b.test/', status = 200 }"), 1);
    assert_eq!(site("redirect = 'x'"), 1);
}

#[test]
fn routes_differ_by_path_or_conditions() {
    let route = |rest: &str| format!("[[site.route]]\nrespond = ''\n{rest}\n");
    let site = |routes: &[&str]| {
        let routes: Vec<String> = routes.iter().map(|rest| route(rest)).collect();
        mistakes(&format!("[[site]]\nroot = '.'\n{}", routes.concat())).len()
    };
    assert_eq!(site(&["path = '/a'", "path = '/a'\nmethod = 'GET'", "path = '/b'"]), 0);
    assert_eq!(site(&["path = '/a'", "path = '/a'"]), 1);
    assert_eq!(site(&["path = '/{a}'", "path = '/{b}'"]), 1);
    assert_eq!(site(&["path = ['/a', '/b', '/a']"]), 1);
    assert_eq!(site(&["path = '/*'"]), 1, "the site itself answers it");
    let get = "path = '/a'\nmethod = ['GET', 'HEAD']";
    assert_eq!(site(&[get, "path = '/a'\nmethod = ['HEAD', 'GET']"]), 1, "in another order");
}

#[test]
fn fields_of_the_route_have_the_last_word() {
    let text = "
        [defaults.response_headers]
        set = { a = 'defaults', b = 'defaults', c = 'defaults' }
        [[site]]
        response_headers = { set = { b = 'site' }, remove = ['c'] }
        [[site.route]]
        path = '/'
        respond = ''
        response_headers = { set = { c = 'route' } }
    ";
    let built = Loaded::of_text("sterna.toml", text, &Environment::empty()).build();
    let built = built.unwrap_or_else(|problems| panic!("{problems}"));
    let stations = built.gateway.routes[0].middleware.iter();
    let [headers] = &stations
        .filter_map(|station| match station {
            crate::middleware::Config::Headers(headers) => Some(headers),
            _ => None,
        })
        .collect::<Vec<_>>()[..]
    else {
        panic!("one station of fields");
    };
    let set: Vec<String> = headers
        .response
        .set
        .iter()
        .map(|(name, value)| match value {
            crate::middleware::headers::Value::Fixed(value) => {
                format!("{name}={}", value.to_str().expect("text"))
            }
            made => panic!("{made:?}"),
        })
        .collect();
    assert_eq!(set, ["a=defaults", "b=site", "c=route"]);
    assert_eq!(headers.response.remove, Vec::<http::HeaderName>::new());
}
