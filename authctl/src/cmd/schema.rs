//! `authctl schema`: the JSON schemas of the output.

use crate::{
    context::Context,
    error::{Error, Refusal},
    output::{
        table::{Column, Room, Row},
        text::clean,
    },
    schema,
};
use serde::{Deserialize, Serialize};
use shared::admin::Page;

/// A kind of output.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Kind {
    /// What `authctl schema` takes: `session.list`.
    pub kind: String,
    /// What stands in the field `schema` of the output.
    pub schema: String,
}

impl Row for Kind {
    const COLUMNS: &'static [Column<Self>] = &[
        Column { name: "KIND", room: Room::Keep, cell: |kind, _| clean(&kind.kind) },
        Column { name: "SCHEMA", room: Room::Cut, cell: |kind, _| clean(&kind.schema) },
    ];

    fn id(&self) -> String {
        self.kind.clone()
    }
}

/// Lists the kinds of output, or prints the JSON schema of one.
///
/// # Errors
/// [`Error::Refused`] as 404 for a kind that does not exist.
pub fn run(context: &mut Context<'_>, kind: Option<&str>) -> Result<(), Error> {
    let Some(kind) = kind else {
        let one = |kind: String| Kind { schema: format!("authctl.{kind}/1"), kind };
        return context.output.list("schema", &Page::whole(schema::kinds().into_iter().map(one).collect()));
    };
    let Some(found) = schema::of(kind) else {
        let detail = format!("no output is of the kind `{kind}`");
        return Err(Error::Refused(Box::new(Refusal {
            status: 404,
            code: "NOT_FOUND".to_owned(),
            detail,
            ..Refusal::default()
        })));
    };
    context.output.raw(&format!("{found:#}\n"))
}
