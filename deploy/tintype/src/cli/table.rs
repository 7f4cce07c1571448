//! Text tables: columns aligned by the width that a terminal gives their letters,
//! so that Chinese, Arabic and emoji keep the columns straight. Two looks: plain,
//! for our own reports, and boxed, as DuckDB draws its results.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::printable;

/// Cells wider than this are cut, with an ellipsis. Wider, and one long label
/// pushes the figures off the screen.
const MAX_CELL_WIDTH: usize = 48;

/// Where a cell's text stands in its column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Text.
    Left,
    /// Figures.
    Right,
}

/// A column's heading, one entry a line, and where its cells stand.
#[derive(Debug, Clone)]
pub struct Column {
    heading: Vec<String>,
    align: Align,
    max_width: usize,
}

impl Column {
    /// A column of names.
    pub fn text(heading: &str) -> Self {
        Self {
            heading: vec![heading.into()],
            align: Align::Left,
            max_width: MAX_CELL_WIDTH,
        }
    }

    /// A column of sentences, which are never cut; the last one of its table.
    pub fn prose(heading: &str) -> Self {
        Self {
            max_width: usize::MAX,
            ..Self::text(heading)
        }
    }

    /// A column of figures.
    pub fn figures(heading: &str) -> Self {
        Self {
            align: Align::Right,
            ..Self::text(heading)
        }
    }

    /// With another line under the heading.
    pub fn line(mut self, text: &str) -> Self {
        self.heading.push(text.into());
        self
    }
}

/// Rows under headings.
#[derive(Debug, Clone)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows yet.
    pub fn new(columns: Vec<Column>) -> Self {
        let rows = Vec::new();
        Self { columns, rows }
    }

    /// Adds a row; a missing cell is empty.
    pub fn row<T: Into<String>>(&mut self, cells: impl IntoIterator<Item = T>) {
        let cell = |(text, column): (T, &Column)| {
            let line = printable(&text.into()).replace('\n', " ");
            shorten(&line, column.max_width)
        };
        let cells = cells.into_iter().zip(&self.columns);
        let mut row: Vec<String> = cells.map(cell).collect();
        row.resize(self.columns.len(), String::new());
        self.rows.push(row);
    }

    /// The table with two spaces between the columns.
    pub fn plain(&self) -> String {
        let widths = self.widths();
        let mut out = String::new();
        for line in self.heading_lines() {
            self.push_plain(&mut out, &line, &widths);
        }
        for row in &self.rows {
            self.push_plain(&mut out, row, &widths);
        }
        out.pop();
        out
    }

    /// The table as DuckDB draws it: headings centred in a frame.
    pub fn boxed(&self) -> String {
        let widths = self.widths();
        let rule = |left: char, middle: char, right: char| {
            let bars: Vec<String> = widths.iter().map(|w| "─".repeat(w + 2)).collect();
            format!("{left}{}{right}\n", bars.join(&middle.to_string()))
        };
        let line = |cells: Vec<String>| format!("│ {} │\n", cells.join(" │ "));
        let mut out = rule('┌', '┬', '┐');
        for heading in self.heading_lines() {
            let centred = heading.iter().zip(&widths).map(|(t, w)| centre(t, *w));
            out += &line(centred.collect());
        }
        out += &rule('├', '┼', '┤');
        for row in &self.rows {
            let cells = row.iter().zip(&widths).zip(&self.columns);
            out += &line(cells.map(|((t, w), c)| pad(t, *w, c.align)).collect());
        }
        out += rule('└', '┴', '┘').trim_end();
        out
    }

    fn heading_lines(&self) -> Vec<Vec<String>> {
        let lines = self.columns.iter().map(|c| c.heading.len()).max();
        (0..lines.unwrap_or(0))
            .map(|i| {
                let text = |c: &Column| c.heading.get(i).cloned().unwrap_or_default();
                self.columns.iter().map(text).collect()
            })
            .collect()
    }

    fn widths(&self) -> Vec<usize> {
        let width = |i: usize, column: &Column| {
            let cells = self.rows.iter().map(|row| row[i].width());
            let heading = column.heading.iter().map(|line| line.width());
            cells.chain(heading).max().unwrap_or(0)
        };
        self.columns
            .iter()
            .enumerate()
            .map(|(i, c)| width(i, c))
            .collect()
    }

    fn push_plain(&self, out: &mut String, cells: &[String], widths: &[usize]) {
        let cells = cells.iter().zip(widths).zip(&self.columns);
        let padded: Vec<String> = cells.map(|((t, w), c)| pad(t, *w, c.align)).collect();
        out.push_str(padded.join("  ").trim_end());
        out.push('\n');
    }
}

fn pad(text: &str, width: usize, align: Align) -> String {
    let space = " ".repeat(width.saturating_sub(text.width()));
    match align {
        Align::Left => format!("{text}{space}"),
        Align::Right => format!("{space}{text}"),
    }
}

fn centre(text: &str, width: usize) -> String {
    let space = width.saturating_sub(text.width());
    let left = space / 2;
    format!("{}{text}{}", " ".repeat(left), " ".repeat(space - left))
}

fn shorten(text: &str, max_width: usize) -> String {
    if text.width() <= max_width {
        return text.into();
    }
    let mut width = 0;
    let mut short: String = text
        .chars()
        .take_while(|c| {
            width += c.width().unwrap_or(0);
            width < max_width
        })
        .collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Table {
        let columns = vec![
            Column::text("label"),
            Column::figures("duplicate").line("exact"),
            Column::figures("all"),
        ];
        let mut table = Table::new(columns);
        table.row(["cat", "1", "12"]);
        table.row(["黑猫🐈", "", "3"]);
        table.row(["قطة", "20", "4"]);
        table
    }

    #[test]
    fn wide_letters_keep_the_columns_straight() {
        let text = example().plain();
        let expected = "\
label   duplicate  all
            exact
cat             1   12
黑猫🐈               3
قطة            20    4";
        assert_eq!(text, expected);
        let ends: Vec<usize> = text.lines().skip(2).map(|line| line.width()).collect();
        assert_eq!(ends, [22, 22, 22]);
    }

    #[test]
    fn the_boxed_look_has_equally_wide_lines() {
        let text = example().boxed();
        let widths: Vec<usize> = text.lines().map(|line| line.width()).collect();
        assert_eq!(widths, vec![widths[0]; 8], "{text}");
        assert!(
            text.starts_with("┌────────┬") && text.ends_with("┘"),
            "{text}"
        );
    }

    #[test]
    fn a_long_or_hostile_cell_stays_one_short_line() {
        let mut table = Table::new(vec![Column::text("path")]);
        table.row([format!("a\nb\u{1b}{}", "猫".repeat(200))]);
        let text = table.plain();
        assert_eq!(text.lines().count(), 2);
        assert!(text.lines().all(|line| line.width() <= MAX_CELL_WIDTH));
        assert!(text.ends_with('…') && !text.contains('\u{1b}'), "{text}");
    }
}
