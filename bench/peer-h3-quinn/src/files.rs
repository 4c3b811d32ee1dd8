//! The files, read once; a response shares their bytes.

use std::{collections::HashMap, io, path::Path};

use bytes::Bytes;

/// Request path to content.
pub(crate) type Files = HashMap<String, Bytes>;

/// Reads every file directly below `directory`.
pub(crate) fn load(directory: &Path) -> io::Result<Files> {
    let mut files = Files::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            let path = format!("/{}", entry.file_name().to_string_lossy());
            files.insert(path, std::fs::read(entry.path())?.into());
        }
    }
    Ok(files)
}
