//! The reader of configurations against any text: nothing panics, every refusal has something to say, and what is taken
//! comes back from its canonical JSON.
//!
//! Nothing outside is touched: no variable is set, no file is there, and a text includes nothing.

use sterna_gateway::config::{Environment, Loaded};

pub(crate) fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let environment = Environment::empty();
    match Loaded::of_text("sterna.toml", text, &environment).model() {
        Ok(model) => {
            let json = model.to_json();
            let again = Loaded::of_json(&json, &environment).model();
            assert_eq!(again.expect("it was taken before"), model, "{json:#}");
        }
        Err(problems) => {
            assert!(!problems.is_empty() && !problems.to_string().is_empty());
            assert!(problems.to_json().is_array());
        }
    }
}
