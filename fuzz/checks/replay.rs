//! The committed inputs of a target, by a plain test: no fuzzer and no other compiler is needed.

use std::fs;
use std::path::Path;

/// Hands every input in `fuzz/corpus/TARGET` to `check`, which panics where something is wrong.
pub(crate) fn replay(target: &str, check: fn(&[u8])) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let mut inputs = 0;
    for entry in fs::read_dir(root.join(target)).expect("a corpus") {
        check(&fs::read(entry.expect("an entry").path()).expect("an input"));
        inputs += 1;
    }
    assert!(inputs > 2, "{target} has only {inputs} inputs");
}
