//! What no server can be cheaper than: the cryptography of a handshake, and sealing and sending alone.

use std::fmt::Write as _;
use std::process::Command;

use serde_json::Value;

use super::case::{Case, Group};
use super::stage::Stage;
use super::table::Row;

/// Lines about the rows that have a floor; none where it cannot be measured.
pub(crate) fn beside(rows: &[Row], stage: &Stage) -> String {
    let mut text = String::new();
    for row in rows {
        let (group, key) = match row.case {
            Case::Handshakes(group) => (group, "cpu_ms_per_handshake"),
            Case::Bulk => (Group::X25519, "cpu_seconds_per_gib"),
            _ => continue,
        };
        let Some(floor) = measure(stage, group, key) else { continue };
        for result in &row.results {
            let ratio = result.median() / floor;
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "- {}: {} {:.3} / {floor:.3} = {ratio:.2}",
                row.case,
                result.name,
                result.median()
            );
        }
    }
    if text.is_empty() {
        return text;
    }
    format!(
        "\nBeside the cryptography alone, and for bulk AES-GCM and sending by segmentation offload:\n{text}"
    )
}

/// The middle of three, on the core that the servers had.
fn measure(stage: &Stage, group: Group, key: &str) -> Option<f64> {
    let group = group.to_string();
    let mut values: Vec<f64> = (0..3)
        .filter_map(|_| {
            let mut command = Command::new("taskset");
            command.args(["-c", "0"]).arg(&stage.tools.load).arg("bare").arg(&stage.directory);
            let output = command.args(["--group", &group]).output().ok()?;
            let report: Value = serde_json::from_slice(&output.stdout).ok()?;
            report[key].as_f64()
        })
        .collect();
    values.sort_by(f64::total_cmp);
    values.get(1).copied()
}
