//! Columns of text: a header in capitals, numbers to the right, no borders, the last column wrapped.

/// Width to stay within where the content allows it, characters.
const WIDTH: usize = 100;
/// Narrowest that a wrapped column gets, characters.
const NARROWEST: usize = 24;
/// Between columns.
const GAP: &str = "  ";

/// How a column is aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A table under construction.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
    width: usize,
}

impl Table {
    /// A table with these columns. A header that begins with `>` belongs to a column of numbers.
    pub fn new(headers: &[&'static str]) -> Self {
        let column = |header: &&'static str| match header.strip_prefix('>') {
            Some(header) => (header, Align::Right),
            None => (*header, Align::Left),
        };
        Self { columns: headers.iter().map(column).collect(), rows: Vec::new(), width: WIDTH }
    }

    /// Stays within `width` characters where the content allows it.
    pub fn within(mut self, width: usize) -> Self {
        self.width = width;
        self
    }

    /// Adds a row with one cell for each column. Control characters, which would break the columns, become spaces.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let clean = |cell: String| cell.replace(char::is_control, " ");
        let mut cells: Vec<String> = cells.into_iter().map(clean).collect();
        cells.resize(self.columns.len(), String::new());
        self.rows.push(cells);
    }

    /// The table as text, each line ended.
    pub fn render(&self) -> String {
        let widths: Vec<usize> = (0..self.columns.len()).map(|column| self.column_width(column)).collect();
        let Some((last, fixed)) = widths.split_last() else { return String::new() };
        let before: usize = fixed.iter().map(|width| width + GAP.len()).sum();
        let room = self.width.saturating_sub(before).max(NARROWEST).min((*last).max(1));

        let mut text = String::new();
        let headers: Vec<String> = self.columns.iter().map(|(header, _)| (*header).to_owned()).collect();
        for cells in std::iter::once(&headers).chain(&self.rows) {
            let Some((tail, head)) = cells.split_last() else { continue };
            let mut line = String::new();
            for ((cell, width), (_, align)) in head.iter().zip(fixed).zip(&self.columns) {
                push_aligned(&mut line, cell, *width, *align);
                line.push_str(GAP);
            }
            let align = self.columns.last().map_or(Align::Left, |(_, align)| *align);
            for (number, piece) in wrap(tail, room).into_iter().enumerate() {
                if number > 0 {
                    line = " ".repeat(before);
                }
                push_aligned(&mut line, &piece, if align == Align::Right { *last } else { 0 }, align);
                text.push_str(line.trim_end());
                text.push('\n');
            }
        }
        text
    }

    fn column_width(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([self.columns[column].0.len()]).max().unwrap_or(0)
    }
}

fn push_aligned(line: &mut String, cell: &str, width: usize, align: Align) {
    let padding = " ".repeat(width.saturating_sub(cell.chars().count()));
    match align {
        Align::Left => line.extend([cell, padding.as_str()]),
        Align::Right => line.extend([padding.as_str(), cell]),
    }
}

/// `text` in pieces of at most `width` characters, broken at spaces; a longer word stays whole, so that paths can be
/// copied. At least one piece.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut pieces = vec![String::new()];
    for word in text.split_whitespace() {
        let Some(piece) = pieces.last_mut() else { continue };
        if piece.is_empty() {
            piece.push_str(word);
        } else if piece.chars().count() + 1 + word.chars().count() <= width {
            piece.push(' ');
            piece.push_str(word);
        } else {
            pieces.push(word.to_owned());
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_to_the_right_and_the_last_column_wrapped() {
        let mut table = Table::new(&["NAME", ">COUNT", "TEXT"]).within(40);
        table.row(["a".into(), "1".into(), "short".into()]);
        table.row(["long-name".into(), "1234567".into(), "words that do not fit in one line".into()]);
        let expected = "\
NAME         COUNT  TEXT
a                1  short
long-name  1234567  words that do not fit in
                    one line
";
        assert_eq!(table.render(), expected);
    }

    #[test]
    fn a_last_column_of_numbers_is_aligned_and_control_characters_do_no_harm() {
        let mut table = Table::new(&["NAME", ">AGE-S"]);
        table.row(["a\nb\u{1b}[31m".into(), "5".into()]);
        assert_eq!(table.render(), "NAME      AGE-S\na b [31m      5\n");
    }

    #[test]
    fn a_word_longer_than_the_column_stays_whole() {
        assert_eq!(wrap("a /a/very/long/path b", 6), ["a", "/a/very/long/path", "b"]);
        assert_eq!(wrap("", 6), [""]);
    }
}
