//! Tables that fit: the least important columns go first, long texts are cut, ids never.

use super::{
    look::Look,
    text::{fit, width, wrap},
};
use crate::error::Error;
use serde::Serialize;
use tabled::{
    builder::Builder,
    settings::{Padding, Style},
};

/// Columns between two columns of a table.
const GAP: usize = 2;
/// Columns below which a text says too little.
const LEAST: usize = 14;
/// Columns that an optional column keeps or is left out: the width of a time.
const WORTH: usize = 25;
/// How a header stands out where colours are allowed.
const BOLD: (&str, &str) = ("\u{1b}[1m", "\u{1b}[0m");

/// What a column gives up when the table does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Room {
    /// Only in `wide` tables and where one thing is shown.
    Wide,
    /// Is left out, the right-most first.
    Optional,
    /// Is cut.
    Cut,
    /// Keeps its width: ids and states.
    Keep,
}

/// A column of a table of `T`.
pub struct Column<T> {
    /// Its name, as in the header and in `--columns`.
    pub name: &'static str,
    /// What it gives up.
    pub room: Room,
    /// The printable text of its cell.
    pub cell: fn(&T, &Look) -> String,
}

/// Something that can be shown in a table and as JSON.
pub trait Row: Serialize + Sized + 'static {
    /// Its columns, the most important first.
    const COLUMNS: &'static [Column<Self>];

    /// Usual widths of the columns, so that rows that come one by one stand under each other.
    const USUAL: &'static [usize] = &[];

    /// What `-o ids` prints.
    fn id(&self) -> String;
}

/// A table laid out.
#[derive(Debug)]
pub struct Sheet {
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Sheet {
    /// Lays the items out within `limit` columns; `usize::MAX` shows every column in full.
    ///
    /// # Errors
    /// [`Error::Usage`] when `names` has a column that does not exist.
    pub fn new<T: Row>(items: &[T], names: &[String], look: &Look, limit: usize) -> Result<Self, Error> {
        Self::lay_out(items, names, look, limit, &[])
    }

    /// Lays a part of a stream out: its columns have at least their usual widths.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn of_stream<T: Row>(items: &[T], names: &[String], look: &Look, limit: usize) -> Result<Self, Error> {
        Self::lay_out(items, names, look, limit, if names.is_empty() { T::USUAL } else { &[] })
    }

    fn lay_out<T: Row>(
        items: &[T],
        names: &[String],
        look: &Look,
        limit: usize,
        usual: &[usize],
    ) -> Result<Self, Error> {
        let chosen = choose::<T>(names, limit)?;
        let mut rows: Vec<Vec<String>> =
            items.iter().map(|item| chosen.iter().map(|column| (column.cell)(item, look)).collect()).collect();
        let mut shapes: Vec<Shape> = chosen
            .iter()
            .enumerate()
            .map(|(place, column)| Shape {
                room: if names.is_empty() { column.room } else { column.room.max(Room::Cut) },
                header: width(column.name),
                widest: widest(&rows, place, column.room, usual.get(place).filter(|_| limit != usize::MAX)),
                columns: 0,
            })
            .collect();
        arrange(&mut shapes, limit);
        let cut = |cell: String, shape: &Shape| match usual {
            [] => fit(&cell, shape.columns),
            _ => padded(fit(&cell, shape.columns), shape.columns),
        };
        for row in &mut rows {
            let cells = std::mem::take(row).into_iter().zip(&shapes).filter(|(_, shape)| shape.columns > 0);
            *row = cells.map(|(cell, shape)| cut(cell, shape)).collect();
        }
        let kept = chosen.iter().zip(&shapes).filter(|(_, shape)| shape.columns > 0);
        let header = kept.map(|(column, _)| column.name).collect();
        Ok(Self { header, rows })
    }

    /// The table under its header.
    #[must_use]
    pub fn with_header(&self) -> String {
        let header = self.header.iter().map(|name| (*name).to_owned()).collect();
        let text = render(std::iter::once(header).chain(self.rows.iter().cloned()));
        match text.split_once('\n') {
            Some((first, rest)) => format!("{}{first}{}\n{rest}", BOLD.0, BOLD.1),
            None => text,
        }
    }

    /// The table without a header.
    #[must_use]
    pub fn body(&self) -> String {
        render(self.rows.iter().cloned())
    }
}

/// One item with one field a line; a value that does not fit goes on below, nothing of it is lost.
///
/// # Errors
/// [`Error::Usage`] when `names` has a column that does not exist.
pub fn upright<T: Row>(item: &T, names: &[String], look: &Look, limit: usize) -> Result<String, Error> {
    let chosen = choose::<T>(names, usize::MAX)?;
    let indent = chosen.iter().map(|column| width(column.name)).max().unwrap_or(0) + 2;
    let field = |column: &Column<T>| {
        let label = padded(format!("{}:", column.name), indent);
        let lines = wrap(&(column.cell)(item, look), limit.saturating_sub(indent).max(20));
        label + &lines.join(&format!("\n{}", " ".repeat(indent))) + "\n"
    };
    Ok(chosen.into_iter().map(field).collect())
}

/// Width of the widest cell of a column, or what is usual there; what keeps its width may be wider than usual.
fn widest(rows: &[Vec<String>], place: usize, room: Room, usual: Option<&usize>) -> usize {
    let cells = rows.iter().filter_map(|row| row.get(place));
    let widest = cells.map(|cell| width(cell)).max().unwrap_or(0);
    match usual {
        None => widest,
        Some(usual) if room == Room::Keep => widest.max(*usual),
        Some(usual) => *usual,
    }
}

fn padded(mut text: String, columns: usize) -> String {
    text.extend(std::iter::repeat_n(' ', columns.saturating_sub(width(&text))));
    text
}

fn is_name(given: &str, name: &str) -> bool {
    given.trim().replace(['_', '-'], " ").eq_ignore_ascii_case(name)
}

fn choose<T: Row>(names: &[String], limit: usize) -> Result<Vec<&'static Column<T>>, Error> {
    if names.is_empty() {
        return Ok(T::COLUMNS.iter().filter(|column| limit == usize::MAX || column.room != Room::Wide).collect());
    }
    let find = |name: &String| {
        T::COLUMNS.iter().find(|column| is_name(name, column.name)).ok_or_else(|| {
            let known: Vec<String> =
                T::COLUMNS.iter().map(|column| column.name.to_lowercase().replace(' ', "_")).collect();
            Error::usage(format!("there is no column `{name}`"), format!("the columns are {}", known.join(",")))
        })
    };
    names.iter().map(find).collect()
}

/// A column on its way to a width; 0 columns means it is left out.
#[derive(Debug)]
struct Shape {
    room: Room,
    header: usize,
    widest: usize,
    columns: usize,
}

impl Shape {
    fn natural(&self) -> usize {
        self.header.max(self.widest)
    }

    fn least(&self) -> usize {
        match self.room {
            Room::Keep => self.natural(),
            Room::Cut => self.natural().min(self.header.max(LEAST)),
            Room::Wide | Room::Optional => self.natural().min(self.header.max(WORTH)),
        }
    }
}

fn sum(shapes: &[Shape], columns: impl Fn(&Shape) -> usize) -> usize {
    let shown = shapes.iter().filter(|shape| shape.columns > 0);
    shown.map(|shape| columns(shape) + GAP).sum::<usize>().saturating_sub(GAP)
}

fn arrange(shapes: &mut [Shape], limit: usize) {
    for shape in shapes.iter_mut() {
        shape.columns = shape.natural().max(1);
    }
    if limit == usize::MAX {
        return;
    }
    while sum(shapes, Shape::least) > limit {
        let spare = shapes.iter_mut().rev().find(|shape| shape.columns > 0 && shape.room <= Room::Optional);
        match spare {
            Some(shape) => shape.columns = 0,
            None => break,
        }
    }
    // Take from the widest that can give, until it fits; when nothing can give any more, from the widest at all.
    let mut over = sum(shapes, |shape| shape.columns).saturating_sub(limit);
    while over > 0 {
        let can_give = |shape: &&mut Shape| shape.columns > shape.least();
        let widest = shapes.iter_mut().filter(can_give).max_by_key(|shape| shape.columns);
        match widest {
            Some(shape) => shape.columns -= 1,
            None => break,
        }
        over -= 1;
    }
    while over > 0 {
        match shapes.iter_mut().filter(|shape| shape.columns > 1).max_by_key(|shape| shape.columns) {
            Some(shape) => shape.columns -= 1,
            None => break,
        }
        over -= 1;
    }
}

fn render(rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut builder = Builder::default();
    let mut count = 0_usize;
    for row in rows {
        builder.push_record(row);
        count += 1;
    }
    if count == 0 {
        return String::new();
    }
    let mut table = builder.build();
    table.with(Style::empty()).with(Padding::new(0, GAP, 0, 0));
    table.to_string().lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Thing {
        id: &'static str,
        name: &'static str,
        place: &'static str,
    }

    impl Row for Thing {
        const COLUMNS: &'static [Column<Self>] = &[
            Column { name: "ID", room: Room::Keep, cell: |thing, _| super::super::text::clean(thing.id) },
            Column { name: "NAME", room: Room::Cut, cell: |thing, _| super::super::text::clean(thing.name) },
            Column {
                name: "LAST PLACE",
                room: Room::Optional,
                cell: |thing, _| super::super::text::clean(thing.place),
            },
            Column { name: "SECRET", room: Room::Wide, cell: |_, _| "hidden".to_owned() },
        ];
        const USUAL: &'static [usize] = &[30, 20, 30];

        fn id(&self) -> String {
            self.id.to_owned()
        }
    }

    const ID: &str = "ses_01k0000000000000000000000";

    fn things() -> Vec<Thing> {
        vec![
            Thing { id: ID, name: "ada", place: "here" },
            Thing {
                id: ID,
                name: "名前名前名前名前名前名前名前名前名前名前名前名前名前名前名前名前名前名前",
                place: "\u{1b}[2J\u{1b}]0;owned\u{7}\n\n\u{202e}a very long place that goes on and on and on and on and on",
            },
        ]
    }

    fn lines(limit: usize, names: &[&str]) -> Vec<String> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let sheet = Sheet::new(&things(), &names, &Look::default(), limit).unwrap();
        sheet.with_header().replace(BOLD.0, "").replace(BOLD.1, "").lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_table_fits_whatever_its_values() {
        for limit in [20, 40, 60, 80, 160] {
            for line in lines(limit, &[]) {
                assert!(width(&line) <= limit, "{} > {limit}: {line:?}", width(&line));
                assert!(!line.contains(['\u{1b}', '\u{202e}', '\u{7}']), "{line:?}");
            }
        }
        assert_eq!(lines(80, &[]).len(), 3, "a value must not break its line");
    }

    #[test]
    fn ids_are_whole_in_80_columns_and_texts_are_cut() {
        let at_80 = lines(80, &[]);
        assert!(at_80.iter().skip(1).all(|line| line.starts_with(ID)));
        assert!(at_80.iter().any(|line| line.contains('…')));
    }

    #[test]
    fn what_does_not_fit_is_left_out_from_the_right() {
        assert!(lines(80, &[]).first().unwrap().contains("LAST PLACE"));
        let narrow = lines(44, &[]);
        assert!(narrow.first().unwrap().contains("NAME") && !narrow.first().unwrap().contains("LAST PLACE"));
    }

    #[test]
    fn a_wide_table_shows_everything() {
        let wide = lines(usize::MAX, &[]);
        assert!(wide.first().unwrap().contains("SECRET"));
        assert!(!wide.iter().any(|line| line.contains('…')));
    }

    #[test]
    fn columns_are_chosen_by_name_in_the_given_order() {
        assert_eq!(lines(160, &["last_place", "id"]).first().unwrap().split_whitespace().next(), Some("LAST"));
        let unknown = Sheet::new(&things(), &["nmae".to_owned()], &Look::default(), 80).unwrap_err();
        assert_eq!(unknown.exit().code(), 2);
        assert!(unknown.hint().contains("id,name,last_place"));
    }

    #[test]
    fn rows_of_a_stream_stand_under_each_other() {
        let things = things();
        let row = |place: usize| {
            let one = things.get(place..=place).unwrap();
            let sheet = Sheet::of_stream(one, &[], &Look::default(), 80).unwrap();
            sheet.body()
        };
        let column = |text: &str, word: &str| width(text.split(word).next().unwrap());
        let (first, second) = (row(0), row(1));
        assert_eq!(column(&first, "here"), column(&second, "\\u{1b}"), "{first}{second}");
    }

    #[test]
    fn one_thing_is_shown_a_line_a_field() {
        let things = things();
        let text = upright(&things[0], &[], &Look::default(), 80).unwrap();
        assert_eq!(text.lines().next(), Some(format!("ID:         {ID}").as_str()));
        assert_eq!(text.lines().count(), 4);
    }
}
