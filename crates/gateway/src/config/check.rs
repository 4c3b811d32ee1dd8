//! What cannot be so, although each key alone is fine.

use http::HeaderName;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};

use super::problem::{Mistake, Place, Problems};
use super::setting::At;
use super::site::{Edit, Respond, Route, Site};
use super::{Listen, Model};
use crate::route::{Conditions, Pattern};

impl Model {
    pub(super) fn check(&self, problems: &mut Problems) {
        // A list is empty also when nothing in it could be read, and that has been told.
        let is_whole = problems.is_empty();
        self.check_server(problems);
        self.check_listen(is_whole, problems);
        self.check_sites(is_whole, problems);
        self.defaults.request_headers.check(problems);
        self.defaults.response_headers.check(problems);
        for site in &self.site {
            site.check(is_whole, problems);
        }
    }

    fn check_listen(&self, is_whole: bool, problems: &mut Problems) {
        let place = self.at.key("listen");
        if self.listen.is_empty() && is_whole {
            problems.contradiction(
                place,
                "there is nowhere to listen",
                "name an address and a port",
            );
        }
        let is_again = |(i, listen): (usize, &Listen)| self.listen[..i].contains(listen);
        if let Some((i, _)) = self.listen.iter().enumerate().find(|&at| is_again(at)) {
            let what = format!("`{}` is there twice", self.listen[i]);
            problems.contradiction(place, &what, "leave one of them out");
        }
    }

    /// Each host belongs to one site.
    fn check_sites(&self, is_whole: bool, problems: &mut Problems) {
        if self.site.is_empty() && is_whole {
            problems.contradiction(
                self.at.table(),
                "nothing is served",
                "add a `[[site]]` with a `root` or a `respond`",
            );
        }
        for (i, site) in self.site.iter().enumerate() {
            for host in &site.host.0 {
                let before = self.site[..i].iter().find(|before| before.host.0.contains(host));
                if let Some(before) = before {
                    let before = problems.sources.line_of(before.at.table());
                    let what = format!("a site for `{host}`");
                    problems.add(site.at.key("host"), Mistake::Twice { what, before });
                }
            }
        }
    }
}

impl Site {
    fn check(&self, is_whole: bool, problems: &mut Problems) {
        check_handler(&self.at, problems);
        if !has_handler(&self.at) && self.route.is_empty() && is_whole {
            problems.contradiction(
                self.at.table(),
                "this site answers nothing",
                "give it a `root`, a `respond`, or a `[[site.route]]`",
            );
        }
        self.request_headers.check(problems);
        self.response_headers.check(problems);
        check_respond(self.respond.as_ref(), problems);
        let mut taken: Vec<(Pattern, Conditions, &Place)> = Vec::new();
        if has_handler(&self.at) {
            taken.push((Pattern::any(), Conditions::default(), self.at.table()));
        }
        for route in &self.route {
            route.check(problems);
            let conditions = route.conditions();
            for path in &route.path.0 {
                let same = |(other, also, _): &&(Pattern, Conditions, &Place)| {
                    other.is_same_as(path) && also.to_string() == conditions.to_string()
                };
                if let Some((.., before)) = taken.iter().find(same) {
                    let before = problems.sources.line_of(before);
                    let what = format!("a route for `{path}` with the same conditions");
                    problems.add(route.at.key("path"), Mistake::Twice { what, before });
                }
                taken.push((path.clone(), conditions.clone(), route.at.table()));
            }
        }
    }
}

impl Route {
    fn check(&self, problems: &mut Problems) {
        check_handler(&self.at, problems);
        if !has_handler(&self.at) {
            problems.contradiction(
                self.at.table(),
                "this route answers nothing",
                "give it a `root` or a `respond`",
            );
        }
        for (place, name, _) in self.header.with_places() {
            if HeaderName::try_from(name).is_err() {
                let reason = "is not the name of a header field".to_owned();
                let mistake = Mistake::Value { read: name.clone(), reason };
                problems.add(place, mistake);
            }
        }
        self.request_headers.check(problems);
        self.response_headers.check(problems);
        check_respond(self.respond.as_ref(), problems);
    }
}

/// What can answer.
const HANDLERS: [&str; 2] = ["root", "respond"];

fn has_handler(at: &At) -> bool {
    HANDLERS.iter().any(|handler| at.written(handler).is_some())
}

fn check_handler(at: &At, problems: &mut Problems) {
    let mut written = HANDLERS.iter().filter_map(|name| Some((name, at.written(name)?)));
    let Some((first, _)) = written.next() else { return };
    for (more, place) in written {
        let what = format!("`{first}` and `{more}` both answer");
        problems.contradiction(
            place,
            &what,
            "leave one of them out, or move it to a route of its own",
        );
    }
}

fn check_respond(respond: Option<&Respond>, problems: &mut Problems) {
    let Some(Respond(answer)) = respond else { return };
    let status = answer.status.0.as_u16();
    if matches!(status, 204 | 205 | 304) && !answer.body.text.is_empty() {
        problems.contradiction(
            answer.at.key("body"),
            &format!("a response with status {status} has no content"),
            "leave `body` out, or choose another status",
        );
    }
}

impl Edit {
    fn check(&self, problems: &mut Problems) {
        for (place, name, value) in self.set.with_places() {
            match HeaderName::try_from(name) {
                Err(_) => {
                    let reason = "is not the name of a header field".to_owned();
                    problems.add(place, Mistake::Value { read: name.clone(), reason });
                }
                Ok(name) if OURS.contains(&name) => problems.contradiction(
                    place,
                    &format!("`{name}` says where a message ends, which the server knows better"),
                    "leave it out",
                ),
                Ok(_) => {}
            }
            if http::HeaderValue::try_from(&value.text).is_err() {
                let reason = "has a character that no field can carry".to_owned();
                problems.add(place, Mistake::Value { read: value.shown().to_owned(), reason });
            }
        }
    }
}

/// Fields of the connection and of framing.
const OURS: [HeaderName; 4] = [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE];
