//! Tables for terminals, Markdown and HTML.

use super::html::escape;

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

    /// Whether every filled cell of a column starts as a number: such columns are aligned right.
    fn numeric(&self, column: usize) -> bool {
        let mut cells = self.rows.iter().filter_map(|row| row.get(column)).filter(|cell| !cell.is_empty()).peekable();
        cells.peek().is_some()
            && cells.all(|cell| {
                cell.trim_start_matches(['-', '+']).starts_with(|c: char| c.is_ascii_digit()) || cell == "-"
            })
    }

    fn widths(&self) -> Vec<usize> {
        let width = |text: &String| text.chars().count();
        (0..self.headers.len())
            .map(|c| {
                let cells = self.rows.iter().filter_map(|row| row.get(c)).map(width).max().unwrap_or(0);
                cells.max(width(&self.headers[c]))
            })
            .collect()
    }

    /// Aligned plain text, a line a row.
    #[must_use]
    pub fn to_text(&self) -> String {
        let widths = self.widths();
        let line = |cells: &[String]| {
            let cells: Vec<_> = cells
                .iter()
                .zip(&widths)
                .enumerate()
                .map(|(c, (cell, width))| {
                    let pad = " ".repeat(width.saturating_sub(cell.chars().count()));
                    if self.numeric(c) { format!("{pad}{cell}") } else { format!("{cell}{pad}") }
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
        let clean = |cells: &[String]| cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        let rule = (0..self.headers.len()).map(|c| if self.numeric(c) { "---:" } else { "---" }.to_owned()).collect();
        let rows: String = self.rows.iter().map(|row| line(clean(row))).collect();
        format!("{}{}{rows}", line(clean(&self.headers)), line(rule))
    }

    /// An HTML table, escaped.
    #[must_use]
    pub fn to_html(&self) -> String {
        let class = |c: usize| if self.numeric(c) { " class=\"number\"" } else { "" };
        let cells = |tag: &str, row: &[String]| -> String {
            row.iter().enumerate().map(|(c, cell)| format!("<{tag}{}>{}</{tag}>", class(c), escape(cell))).collect()
        };
        let body: String = self.rows.iter().map(|row| format!("<tr>{}</tr>\n", cells("td", row))).collect();
        let caption =
            if self.title.is_empty() { String::new() } else { format!("<caption>{}</caption>", escape(&self.title)) };
        format!(
            "<table>{caption}<thead><tr>{}</tr></thead>\n<tbody>\n{body}</tbody></table>\n",
            cells("th", &self.headers)
        )
    }
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
}
