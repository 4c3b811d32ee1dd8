//! The content of a response that has no other: for people a page, for programs problem details (RFC 9457).

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, VARY};
use http::{HeaderValue, StatusCode};

use crate::Response;
use crate::body::Body;
use crate::weight::quality;

/// A response that names its status, in the form that the request with the fields `asked` likes better.
///
/// Who says nothing of JSON gets the page: browsers, and those who take anything.
pub(crate) fn page(status: StatusCode, asked: &HeaderMap) -> Response {
    let reason = status.canonical_reason().unwrap_or("Error");
    let (kind, content) = if wants_json(asked) {
        ("application/problem+json", json(status, reason))
    } else {
        let html = PAGE.replace("{status}", status.as_str()).replace("{reason}", reason);
        ("text/html; charset=utf-8", html)
    };
    let len = content.len();
    let mut response = Response::new(Body::full(Bytes::from(content.into_bytes())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(len));
    // req: 9110-12.5.5-vary
    headers.insert(VARY, HeaderValue::from_static("accept"));
    response
}

/// A type is left out, which says that the title is that of the status.
fn json(status: StatusCode, reason: &str) -> String {
    format!("{{\"status\":{},\"title\":\"{reason}\"}}\n", status.as_str())
}

/// Whether JSON is named, and with a greater weight than HTML.
fn wants_json(asked: &HeaderMap) -> bool {
    let (mut json, mut html) = (0, 0);
    let fields = asked.get_all(ACCEPT).iter();
    for range in fields.flat_map(|field| field.as_bytes().split(|&byte| byte == b',')) {
        let mut parts = range.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        let name = parts.next().unwrap_or_default();
        let is_one_of = |names: [&str; 2]| {
            names.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
        };
        let weight = parts.find_map(quality).unwrap_or(1000);
        if is_one_of(["application/json", "application/problem+json"]) {
            json = json.max(weight);
        } else if is_one_of(["text/html", "application/xhtml+xml"]) {
            html = html.max(weight);
        }
    }
    json > html
}

const PAGE: &str = include_str!("page.html");

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(accept: &[&str]) -> HeaderMap {
        let value = |text: &&str| HeaderValue::try_from(*text).expect("a value");
        accept.iter().map(|text| (ACCEPT, value(text))).collect()
    }

    fn content(accept: &[&str]) -> (String, String) {
        let response = page(StatusCode::NOT_FOUND, &asked(accept));
        let (head, body) = response.into_parts();
        let Some(content) = body.into_full() else { panic!("a page is in memory") };
        assert_eq!(head.headers[CONTENT_LENGTH], content.len().to_string().as_str());
        assert_eq!(head.headers[VARY], "accept");
        let kind = head.headers[CONTENT_TYPE].to_str().expect("text").to_owned();
        (kind, String::from_utf8(content.to_vec()).expect("text"))
    }

    #[test]
    fn people_get_a_page_that_names_the_status() {
        let (kind, html) = content(&["text/html,application/xhtml+xml,*/*;q=0.8"]);
        assert_eq!(kind, "text/html; charset=utf-8");
        assert!(html.contains("404") && html.contains("Not Found"), "{html}");
        assert!(!html.contains("{status}") && !html.contains("{reason}"), "nothing is left open");
    }

    #[test]
    fn programs_get_problem_details() {
        let (kind, json) = content(&["application/json"]);
        assert_eq!(kind, "application/problem+json");
        assert_eq!(json, "{\"status\":404,\"title\":\"Not Found\"}\n");
    }

    #[test]
    fn json_is_for_those_who_name_it_and_like_it_better() {
        for (accept, expected) in [
            (&[][..], false),
            (&["*/*"], false),
            (&["application/*"], false),
            (&["application/json, text/plain, */*"], true),
            (&["text/plain", "Application/Problem+JSON"], true),
            (&["application/json;q=0.9, text/html"], false),
            (&["application/json, text/html;q=0.9"], true),
            (&["application/json, text/html"], false),
            (&["application/json;charset=utf-8;q=0"], false),
            (&["application/jsonp"], false),
        ] {
            assert_eq!(wants_json(&asked(accept)), expected, "{accept:?}");
        }
    }

    #[test]
    fn no_reason_of_a_status_needs_escaping() {
        for code in 100..1000 {
            let reason = StatusCode::from_u16(code).ok().and_then(|code| code.canonical_reason());
            assert!(!reason.unwrap_or_default().contains(['"', '\\', '<', '&']), "{code}");
        }
    }
}
