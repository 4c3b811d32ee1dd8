//! The validator of a configuration: two people who change it at once do not overwrite each other (RFC 9110 §13.1.1).

use aws_lc_rs::digest::{SHA256, digest};
use sterna_gateway::config::Model;

/// The entity tag of a configuration: a hash of its canonical JSON.
pub(super) fn of(model: &Model) -> String {
    let hash = digest(&SHA256, model.to_json().to_string().as_bytes());
    let hex: String = hash.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
}

/// Whether one of the tags of `If-Match` is this one.
pub(super) fn matches(if_match: &str, tag: &str) -> bool {
    if_match.split(',').map(str::trim).any(|one| one == "*" || one == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weak_tag_matches_nothing_and_a_star_all() {
        assert!(matches("\"a\", \"b\"", "\"b\""));
        assert!(matches("*", "\"b\""));
        assert!(!matches("W/\"b\"", "\"b\""));
        assert!(!matches("", "\"b\""));
    }
}
