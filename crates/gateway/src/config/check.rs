//! What cannot be so, although each key alone is fine.

use http::HeaderName;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};

use super::canary::Canary;
use super::policies::Layers;
use super::problem::{Mistake, Place, Problems};
use super::proxy::Proxy;
use super::setting::{At, Several};
use super::site::{Edit, Redirect, Respond, Route, Site, Version};
use super::upstream::Around;
use super::{Listen, Model};
use crate::middleware::headers;
use crate::route::path::{Tree, decoded};
use crate::route::{Conditions, Pattern};

impl Model {
    pub(super) fn check(&self, problems: &mut Problems) {
        // A list is empty also when nothing in it could be read, and that has been told.
        let is_whole = problems.is_empty();
        self.check_server(problems);
        self.check_addresses(problems);
        self.access_log.check(problems);
        self.admin.check(problems);
        self.check_listen(is_whole, problems);
        self.check_sites(is_whole, problems);
        self.check_acme(problems);
        let most = self.limits.body_size;
        self.defaults.policies.check(most, problems);
        self.check_balancing(problems);
        self.defaults.policies.check_paths(&[Pattern::any()], problems);
        let all = Layers::of(&self.defaults.policies);
        all.check_access(problems);
        for site in &self.site {
            site.check(is_whole, problems);
            site.clients.check(&self.defaults.clients, problems);
            site.policies.check(most, problems);
            site.policies.check_paths(&[Pattern::any()], problems);
            let of_site = all.and(&site.policies, String::new());
            of_site.check_access(problems);
            for route in &site.route {
                route.policies.check(most, problems);
                route.policies.check_paths(&route.path.0, problems);
                of_site.and(&route.policies, String::new()).check_access(problems);
                self.check_version(route, problems);
            }
        }
    }

    /// A route that a version alone takes, and the version is off.
    fn check_version(&self, route: &Route, problems: &mut Problems) {
        let is_http3 = |versions: &Several<Version>| {
            !versions.0.is_empty() && versions.0.iter().all(|version| *version == Version::Http3)
        };
        if !self.http3 && route.protocol.as_ref().is_some_and(is_http3) {
            let help = "take `http3 = false` out, or this route";
            let what = "no request takes this route: HTTP/3 is off";
            problems.contradiction(route.at.key("protocol"), what, help);
        }
    }

    fn check_balancing(&self, problems: &mut Problems) {
        let outermost = &self.defaults.balancing;
        let has_proxy = |site: &Site| {
            site.proxy.is_some() || site.route.iter().any(|route| route.proxy.is_some())
        };
        outermost.check(self.site.iter().any(has_proxy), problems);
        for site in &self.site {
            site.balancing.check(has_proxy(site), problems);
            if let Some(Proxy(backends)) = &site.proxy {
                let around = Around(&[&site.balancing, outermost]);
                around.check(&backends.to.0, site.at.key("proxy"), problems);
            }
            for route in &site.route {
                route.balancing.check(route.proxy.is_some(), problems);
                if let Some(Proxy(backends)) = &route.proxy {
                    let around = Around(&[&route.balancing, &site.balancing, outermost]);
                    around.check(&backends.to.0, route.at.key("proxy"), problems);
                }
            }
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
                "add a `[[site]]` with a `root`, a `proxy`, a `respond` or a `redirect`",
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
                "give it a `root`, a `proxy`, a `respond`, a `redirect`, or a `[[site.route]]`",
            );
        }
        check_respond(self.respond.as_ref(), problems);
        check_canary(self.canary.as_ref(), &self.at, problems);
        let mut taken: Vec<(Pattern, Conditions, &Place)> = Vec::new();
        if has_handler(&self.at) {
            taken.push((Pattern::any(), Conditions::default(), self.at.table()));
        }
        self.reaching.check(self.proxy.as_ref(), problems);
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
        check_loops(self, problems);
    }
}

/// Refuses redirects that lead to themselves.
///
/// A target is followed once: a request that the route takes is made up, and its target routed again. Routes with
/// conditions are thought to take what comes to their path, so that only what must loop is refused.
fn check_loops(site: &Site, problems: &mut Problems) {
    let mut tree = Tree::default();
    let whole_site = site.redirect.as_ref().map(|redirect| (Pattern::any(), redirect, &site.at));
    if has_handler(&site.at) {
        tree.entry(&Pattern::any()).push(None);
    }
    for (i, route) in site.route.iter().enumerate() {
        for path in &route.path.0 {
            tree.entry(path).push(Some(i));
        }
    }
    let of_routes = site.route.iter().enumerate().flat_map(|(i, route)| {
        let redirect = route.redirect.as_ref().filter(|_| route.conditions().is_empty());
        let paths = route.path.0.iter();
        paths.filter_map(move |path| Some((Some(i), path.clone(), redirect?, &route.at)))
    });
    let of_site = whole_site.map(|(path, redirect, at)| (None, path, redirect, at));
    for (owner, path, Redirect(elsewhere), at) in of_site.into_iter().chain(of_routes) {
        let asked = path.sample();
        let leads_back = site.host.0.iter().any(|host| {
            let host = host.to_string();
            let target = elsewhere.to.text.replace("{host}", &host).replace("{path}", &asked);
            path_on(&target, &host)
                .is_some_and(|path| tree.find(&path, |_| true).copied() == Some(owner))
        });
        if leads_back {
            let what = format!("the redirect from `{path}` to `{}` leads to itself", elsewhere.to);
            problems.contradiction(
                at.key("redirect"),
                &what,
                "send clients to another path or host",
            );
        }
    }
}

/// The path of a target, if it is of `host`.
fn path_on(target: &str, host: &str) -> Option<String> {
    let target = target.replace("{query}", "");
    let target = target.split(['?', '#']).next().unwrap_or_default();
    let path = match target.strip_prefix("https://") {
        Some(rest) => {
            let rest = rest.strip_prefix(host).filter(|_| host != "*")?;
            rest.strip_prefix(":443").unwrap_or(rest)
        }
        None => target,
    };
    match path {
        "" => Some("/".to_owned()),
        path if path.starts_with('/') && !path.starts_with("//") => {
            Some(decoded(path).into_owned())
        }
        _ => None,
    }
}

impl Route {
    fn check(&self, problems: &mut Problems) {
        check_handler(&self.at, problems);
        if !has_handler(&self.at) {
            problems.contradiction(
                self.at.table(),
                "this route answers nothing",
                "give it a `root`, a `proxy`, a `respond` or a `redirect`",
            );
        }
        for (place, name, _) in self.header.with_places() {
            if HeaderName::try_from(name).is_err() {
                let reason = "is not the name of a header field".to_owned();
                let mistake = Mistake::Value { read: name.clone(), reason };
                problems.add(place, mistake);
            }
        }
        check_respond(self.respond.as_ref(), problems);
        self.reaching.check(self.proxy.as_ref(), problems);
        check_canary(self.canary.as_ref(), &self.at, problems);
    }
}

fn check_canary(canary: Option<&Canary>, at: &At, problems: &mut Problems) {
    let Some(canary) = canary else { return };
    canary.check(problems);
    check_respond(canary.respond.as_ref(), problems);
    if !has_handler(at) {
        problems.contradiction(
            at.key("canary"),
            "there is nothing that the canary could answer in place of",
            "write beside it what answers the others",
        );
    }
}

/// What can answer.
const HANDLERS: [&str; 4] = ["root", "proxy", "respond", "redirect"];

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
    pub(super) fn check(&self, problems: &mut Problems) {
        let added = self.add.with_places();
        let added =
            added.flat_map(|(place, name, all)| all.0.iter().map(move |one| (place, name, one)));
        for (place, name, value) in self.set.with_places().chain(added) {
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
            if let Err(reason) = value.text.parse::<headers::Value>() {
                let reason = reason.to_string();
                problems.add(place, Mistake::Value { read: value.shown().to_owned(), reason });
            }
        }
    }
}

/// Fields of the connection and of framing.
const OURS: [HeaderName; 4] = [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE];
