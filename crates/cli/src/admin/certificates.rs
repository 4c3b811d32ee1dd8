//! `GET /certificates`, `POST /certificates/renew`: what is shown to clients, where it comes from, and a new one at once.

use aws_lc_rs::digest;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde_json::{Value as Json, json};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::answer::parameter;
use super::page::{json, refusal};
use super::status::seconds;
use crate::acme::Row;
use crate::operation::Operation;

pub(super) fn list(operation: &Operation) -> Response<Bytes> {
    json(StatusCode::OK, &json!({ "certificates": all(operation) }))
}

/// Those that are shown, then the hosts for which there is none yet.
fn all(operation: &Operation) -> Vec<Json> {
    let mut rows = operation.facts.acme.rows();
    let local = operation.local_spki();
    let mut all = Vec::new();
    for (names, der) in operation.tls().leaves() {
        let Ok((_, leaf)) = X509Certificate::from_der(&der) else { continue };
        let is_local = local.as_ref().is_some_and(|spki| *spki == spki_of(&leaf));
        // A site that wants one of an authority has none of its own.
        let is_ordered = |row: &Row| !is_local && names.contains(&row.host);
        let ordered = rows.iter().position(is_ordered).map(|at| rows.remove(at));
        let source = match ordered {
            Some(_) => "acme",
            None if is_local => "local",
            None => "files",
        };
        let names = if names.is_empty() { vec!["*".to_owned()] } else { names };
        all.push(described(&names, source, Some(&leaf), ordered.as_ref()));
    }
    let missing = |row: &Row| described(std::slice::from_ref(&row.host), "acme", None, Some(row));
    all.extend(rows.iter().map(missing));
    all
}

/// What is told of a certificate, or of one that is not there yet.
pub(crate) fn described(
    names: &[String],
    source: &str,
    leaf: Option<&X509Certificate<'_>>,
    order: Option<&Row>,
) -> Json {
    let mut json = json!({
        "names": names,
        "issuer": leaf.map(|leaf| leaf.issuer().to_string()),
        "not_after": leaf.map(|leaf| leaf.validity().not_after.timestamp()),
        "source": source,
    });
    if let Some(order) = order {
        json["next_renewal"] = seconds(order.renew_at).into();
        json["orders"] = order.orders.into();
        json["failures"] = order.failures.into();
        json["error"] = order.error.clone().into();
    }
    json
}

fn spki_of(leaf: &X509Certificate<'_>) -> String {
    BASE64_STANDARD.encode(digest::digest(&digest::SHA256, leaf.public_key().raw))
}

/// Orders anew, soon; `GET /certificates` tells what comes of it.
pub(super) fn renew(operation: &Operation, request: &Request<Bytes>) -> Response<Bytes> {
    let name = parameter(request, "name");
    let rows = operation.facts.acme.renew(name);
    if rows.is_empty() {
        let message = match name {
            Some(name) => {
                format!("no certificate is ordered for {name}: no site of it has `acme = true`")
            }
            None => "no certificate is ordered for any site: none has `acme = true`".to_owned(),
        };
        return refusal(StatusCode::NOT_FOUND, &message);
    }
    let of = |row: &Row| json!({ "name": row.host, "orders": row.orders });
    let renewing = rows.iter().map(of).collect::<Vec<_>>();
    json(StatusCode::ACCEPTED, &json!({ "renewing": renewing }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_without_an_authority_shows_what_it_has_and_renews_nothing() {
        let operation = Operation::of_nothing();
        let all = all(&operation);
        assert_eq!(all.len(), 1);
        assert_eq!((&all[0]["names"][0], &all[0]["source"]), (&json!("*"), &json!("files")));
        let request = Request::post("/certificates/renew?name=a.example").body(Bytes::new());
        let refused = renew(&operation, &request.expect("a request"));
        assert_eq!(refused.status(), StatusCode::NOT_FOUND);
    }
}
