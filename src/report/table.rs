//! Tables for terminals, Markdown and HTML.

use super::escape::escape;

/// Rows under headers.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Table {
    /// Above the table; may be empty.
    pub title: String,
    /// One per column.
    pub headers: Vec<String>,
    /// Cells, as many a row as there are headers.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// A table.
    #[must_use]
    pub fn new(title: &str, headers: &[&str], rows: Vec<Vec<String>>) -> Self {
        Self { title: title.to_owned(), headers: headers.iter().map(|h| (*h).to_owned()).collect(), rows }
    }

    /// Whether every filled cell of a column is a number, perhaps with a unit or a deviation: such columns are aligned
    /// right.
    fn numeric(&self, column: usize) -> bool {
        let mut cells = self.rows.iter().filter_map(|row| row.get(column)).filter(|cell| !cell.is_empty()).peekable();
        cells.peek().is_some() && cells.all(|cell| is_number(cell))
    }

    /// A row's cells, as many as there are headers.
    fn cells<'a>(&self, row: &'a [String]) -> impl Iterator<Item = &'a str> {
        (0..self.headers.len()).map(|column| row.get(column).map_or("", String::as_str))
    }

    fn widths(&self) -> Vec<usize> {
        let width = |text: &str| text.chars().count();
        let mut widths: Vec<usize> = self.headers.iter().map(|header| width(header)).collect();
        for row in &self.rows {
            widths.iter_mut().zip(self.cells(row)).for_each(|(widest, cell)| *widest = (*widest).max(width(cell)));
        }
        widths
    }

    /// Aligned plain text, a line a row.
    #[must_use]
    pub fn to_text(&self) -> String {
        let (widths, numeric) = (self.widths(), self.columns_that_are_numeric());
        let line = |cells: &[String]| {
            let cells: Vec<_> = self
                .cells(cells)
                .zip(widths.iter().zip(&numeric))
                .map(|(cell, (width, numeric))| {
                    let cell = one_line(cell);
                    let pad = " ".repeat(width.saturating_sub(cell.chars().count()));
                    if *numeric { format!("{pad}{cell}") } else { format!("{cell}{pad}") }
                })
                .collect();
            cells.join("  ").trim_end().to_owned() + "\n"
        };
        let mut text = if self.title.is_empty() { String::new() } else { format!("{}\n", self.title) };
        text.push_str(&line(&self.headers));
        text.push_str(&line(&widths.iter().map(|width| "-".repeat(*width)).collect::<Vec<_>>()));
        for row in &self.rows {
            text.push_str(&line(row));
        }
        text
    }

    /// A Markdown table.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let clean = |row: &[String]| self.cells(row).map(|cell| one_line(cell).replace('|', "\\|")).collect();
        let numeric = self.columns_that_are_numeric();
        let rule = numeric.iter().map(|numeric| if *numeric { "---:" } else { "---" }.to_owned()).collect();
        let rows: String = self.rows.iter().map(|row| line(clean(row))).collect();
        format!("{}{}{rows}", line(clean(&self.headers)), line(rule))
    }

    /// An HTML table, escaped.
    #[must_use]
    pub fn to_html(&self) -> String {
        let numeric = self.columns_that_are_numeric();
        let cells = |tag: &str, row: &[String]| -> String {
            let cells = self.cells(row).zip(&numeric);
            cells
                .map(|(cell, numeric)| {
                    let class = if *numeric { " class=\"number\"" } else { "" };
                    format!("<{tag}{class}>{}</{tag}>", escape(cell))
                })
                .collect()
        };
        let body: String = self.rows.iter().map(|row| format!("<tr>{}</tr>\n", cells("td", row))).collect();
        let caption =
            if self.title.is_empty() { String::new() } else { format!("<caption>{}</caption>", escape(&self.title)) };
        format!(
            "<div class=\"wide\"><table>{caption}<thead><tr>{}</tr></thead>\n<tbody>\n{body}</tbody></table></div>\n",
            cells("th", &self.headers)
        )
    }

    fn columns_that_are_numeric(&self) -> Vec<bool> {
        (0..self.headers.len()).map(|column| self.numeric(column)).collect()
    }
}

/// Whether a cell's first word is a number, NaN and infinity included, or the cell stands for a missing one.
fn is_number(cell: &str) -> bool {
    let word = cell.split_whitespace().next().unwrap_or(cell);
    let bare = word.trim_end_matches(['%', '×', 'x']);
    cell == "-" || cell == "–" || word.parse::<f64>().is_ok() || bare.parse::<f64>().is_ok()
}

/// A line break would tear the row.
fn one_line(cell: &str) -> String {
    cell.replace(['\n', '\r', '\t'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_aligned_by_kind() {
        let rows = vec![vec!["none".to_owned(), "0.9 ± 0.1".to_owned()], vec!["é|".to_owned(), "10.25".to_owned()]];
        let table = Table::new("", &["mode", "accuracy"], rows);
        assert_eq!(table.to_text(), "mode   accuracy\n----  ---------\nnone  0.9 ± 0.1\né|        10.25\n");
        assert!(table.to_markdown().contains("| é\\| | 10.25 |"));
    }

    #[test]
    fn rows_of_any_length_and_cells_of_any_text_keep_the_columns() {
        let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect();
        let table =
            Table::new("", &["a", "b"], vec![row(&["x\ny"]), row(&["z", "NaN", "more"]), row(&["z", "12.5 %"])]);
        assert_eq!(table.to_text(), "a         b\n---  ------\nx y\nz       NaN\nz    12.5 %\n");
        assert!(table.to_markdown().lines().all(|line| line.matches('|').count() == 3));
        assert_eq!(table.to_html().matches("<td").count(), 6);
        assert_eq!(Table::default().to_text(), "\n\n");
    }

    #[test]
    fn sizes_and_names_are_not_numbers() {
        assert!(["1e-3", "-0.5", "0.9 ± 0.1", "NaN", "inf", "-", "3.1x", "12%"].into_iter().all(is_number));
        assert!(!["784-128-10", "layer", "f32", "3d", "-x"].into_iter().any(is_number));
    }
}
