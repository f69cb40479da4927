//! `authctl db verify-backup`: the program `authd` reads the file, so that this one knows nothing of databases and no
//! daemon has to run; a daemon that does is asked which key-encryption key it has.

use crate::{
    context::Context,
    error::Error,
    output::{
        look::joined,
        table::{Column, Room, Row},
        text::{clean, size},
    },
};
use shared::admin::{
    Empty,
    db::{Status, Verified},
};
use std::{
    io,
    path::{Path, PathBuf},
};

impl Row for Verified {
    const COLUMNS: &'static [Column<Self>] = &[
        Column { name: "FILE", room: Room::Cut, cell: |found, _| clean(&found.file) },
        Column { name: "SIZE", room: Room::Keep, cell: |found, _| size(found.bytes) },
        Column {
            name: "SCHEMA",
            room: Room::Keep,
            cell: |found, _| format!("{}, this program's is {}", found.schema, found.program_schema),
        },
        Column { name: "NEEDS KEK", room: Room::Keep, cell: |found, _| joined(&found.kek_ids) },
        Column {
            name: "AUDIT",
            room: Room::Keep,
            cell: |found, _| format!("sealed up to {}, {} not yet", found.audit_seq, found.unsealed),
        },
        Column {
            name: "ROWS",
            room: Room::Cut,
            cell: |found, _| {
                let lines = found.tables.iter().map(|table| clean(&format!("{}: {}", table.name, table.rows)));
                lines.collect::<Vec<_>>().join("\n")
            },
        },
        Column {
            name: "PROBLEMS",
            room: Room::Cut,
            cell: |found, _| {
                let lines = found.problems.iter().map(|problem| clean(problem)).collect::<Vec<_>>().join("\n");
                if lines.is_empty() { "none".to_owned() } else { lines }
            },
        },
    ];

    fn id(&self) -> String {
        self.file.clone()
    }
}

pub(super) async fn run(context: &mut Context<'_>, file: &Path) -> Result<(), Error> {
    if context.flags.print_request {
        return Err(Error::usage("db verify-backup makes no call", "leave --print-request out"));
    }
    let mut found = look(file).await?;
    match context.client.call::<Status>(&Empty {}).await {
        Ok(status) => found.problems.extend(missing_keks(&found, &status.kek_ids_held)),
        Err(_) => context.output.warn("no daemon was asked whether it has the key-encryption key that is needed"),
    }
    context.output.item("db.verify-backup", &found)?;
    if found.problems.is_empty() { Ok(()) } else { Err(Error::CheckFailed(found.problems.len() as u64)) }
}

fn missing_keks(found: &Verified, held: &[String]) -> Vec<String> {
    let missing = found.kek_ids.iter().filter(|kek| !held.contains(kek));
    let say = |kek: &String| {
        let held = held.join(" and ");
        format!("it needs the key-encryption key {kek}, and the daemon has {held}: restore it with its own key file")
    };
    missing.map(say).collect()
}

async fn look(file: &Path) -> Result<Verified, Error> {
    // Missing files are told in this program's words.
    std::fs::metadata(file).map_err(|error| Error::usage(format!("{}: {error}", file.display()), "name the backup"))?;
    let program = beside_us();
    let ran = tokio::process::Command::new(&program).args(["verify-backup", "--json"]).arg(file).output().await;
    let ran = ran.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::usage(
            "the program authd, which reads backups, is not installed here",
            "run this where authd is installed; it need not run there",
        ),
        _ => Error::Io(io::Error::new(error.kind(), format!("{}: {error}", program.display()))),
    })?;
    if let Ok(found) = serde_json::from_slice(&ran.stdout) {
        return Ok(found);
    }
    let said = String::from_utf8_lossy(&ran.stderr);
    let said = said.trim().trim_start_matches("authd: ").to_owned();
    Ok(Verified {
        file: file.display().to_string(),
        bytes: std::fs::metadata(file).map_or(0, |file| file.len()),
        schema: 0,
        program_schema: 0,
        tables: Vec::new(),
        kek_ids: Vec::new(),
        audit_seq: 0,
        unsealed: 0,
        problems: vec![said],
    })
}

/// The `authd` that was installed with this program, or else the one in `PATH`.
fn beside_us() -> PathBuf {
    let ours = std::env::current_exe().ok();
    let candidates = ours.iter().flat_map(|exe| {
        let directory = exe.parent().unwrap_or(Path::new("/"));
        [directory.join("authd"), directory.join("../sbin/authd")]
    });
    let mut found = candidates.filter(|candidate| candidate.is_file());
    found.next().unwrap_or_else(|| PathBuf::from("authd"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_encryption_key_that_the_daemon_does_not_have_is_a_problem() {
        let found: Verified = serde_json::from_value(serde_json::json!({
            "file": "b", "bytes": 1, "schema": 1, "program_schema": 1, "tables": [], "kek_ids": ["k1", "k2"],
            "audit_seq": 1, "unsealed": 0, "problems": [],
        }))
        .unwrap();
        let held = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        assert!(missing_keks(&found, &held(&["k2", "k1"])).is_empty());
        let problems = missing_keks(&found, &held(&["k1", "k3"]));
        assert!(problems.len() == 1 && problems[0].contains("k2"), "{problems:?}");
    }
}
