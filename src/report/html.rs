//! A report as one HTML file that needs nothing else.

use std::path::Path;

use super::{Figure, ReportError, Table, escape::escape};

/// A piece of a section.
#[derive(Clone, Debug)]
pub enum Block {
    /// Running text.
    Paragraph(String),
    /// A table.
    Table(Table),
    /// A figure with its caption.
    Figure(Figure),
    /// Text as typed: a command, a configuration.
    Code(String),
    /// Names and values.
    KeyValues(Vec<(String, String)>),
}

/// A headed part of a report.
#[derive(Clone, Debug)]
pub struct Section {
    /// The heading.
    pub heading: String,
    /// What stands under it.
    pub blocks: Vec<Block>,
}

/// A report.
#[derive(Clone, Debug)]
pub struct HtmlReport {
    /// Title and first heading.
    pub title: String,
    /// What the reader should know first.
    pub lead: Vec<String>,
    /// The parts.
    pub sections: Vec<Section>,
}

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1d1d1f; --soft: #62626a; --line: #dcdce1; --back: #fff; --card: #f6f6f8 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8ea; --soft: #a6a6ae; --line: #3a3a40; --back: #17171a; --card: #202024 }
}
body { margin: 2.5rem auto 4rem; max-width: 76rem; padding: 0 1.2rem; color: var(--ink); background: var(--back);
  font: 16px/1.6 system-ui, sans-serif; overflow-wrap: break-word }
h1 { font-size: 1.9rem; line-height: 1.2; letter-spacing: -.01em; margin: 0 0 .6rem }
h2 { font-size: 1.25rem; margin-top: 2.6rem; border-bottom: 1px solid var(--line); padding-bottom: .3rem }
p { max-width: 46rem } .lead { color: var(--soft); font-size: 1.05rem; margin: .4rem 0 }
.wide { overflow-x: auto; margin: 1.2rem 0 }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .95rem }
caption { text-align: left; color: var(--soft); font-size: .9rem; padding-bottom: .4rem }
th, td { padding: .4rem 1.2rem .4rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line) }
th { font-weight: 600; vertical-align: bottom; border-bottom: 2px solid var(--line) } .number { text-align: right }
td.number { white-space: nowrap }
figure { width: min(calc(100vw - 4rem), 80rem); box-sizing: border-box; margin: 1.4rem 0 1.4rem 50%;
  transform: translateX(-50%); background: #fff; border: 1px solid var(--line); border-radius: .5rem; padding: .8rem }
figure svg { max-width: 100%; height: auto; display: block; margin: auto }
figcaption { color: #55555c; font-size: .9rem; max-width: 46rem; margin: .5rem auto 0; text-align: center }
pre { background: var(--card); padding: .8rem 1rem; border-radius: .5rem; overflow-x: auto;
  font: .88rem/1.5 ui-monospace, monospace }
dl { display: grid; grid-template-columns: fit-content(40%) 1fr; gap: .25rem 1.4rem }
dt { color: var(--soft) } dd { margin: 0; overflow-wrap: anywhere; min-width: 0 }
@media print { body { margin: 0; max-width: none } figure { width: 100%; break-inside: avoid } }
";

impl Block {
    fn to_html(&self) -> Result<String, ReportError> {
        Ok(match self {
            Self::Paragraph(text) => format!("<p>{}</p>\n", escape(text)),
            Self::Table(table) => table.to_html(),
            Self::Code(text) => format!("<pre><code>{}</code></pre>\n", escape(text)),
            Self::Figure(figure) => {
                let svg = figure.to_svg()?.replacen("<svg ", &format!("<svg {} ", described(&figure.title)), 1);
                let caption = match figure.caption.as_str() {
                    "" => String::new(),
                    text => format!("<figcaption>{}</figcaption>", escape(text)),
                };
                format!("<figure>{svg}{caption}</figure>\n")
            }
            Self::KeyValues(pairs) => {
                let items: String =
                    pairs.iter().map(|(k, v)| format!("<dt>{}</dt><dd>{}</dd>", escape(k), escape(v))).collect();
                format!("<dl>{items}</dl>\n")
            }
        })
    }
}

/// What a screen reader says of a figure.
fn described(title: &str) -> String {
    format!("role=\"img\" aria-label=\"{}\"", escape(if title.is_empty() { "figure" } else { title }))
}

impl HtmlReport {
    /// The report's HTML.
    ///
    /// # Errors
    /// [`ReportError::Drawing`] for a figure that cannot be drawn.
    pub fn to_html(&self) -> Result<String, ReportError> {
        let title = escape(&self.title);
        let mut body: String = format!("<h1>{title}</h1>\n");
        for text in &self.lead {
            body.push_str(&format!("<p class=\"lead\">{}</p>\n", escape(text)));
        }
        for section in &self.sections {
            body.push_str(&format!("<h2>{}</h2>\n", escape(&section.heading)));
            for block in &section.blocks {
                body.push_str(&block.to_html()?);
            }
        }
        Ok(format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
             <title>{title}</title><style>{STYLE}</style></head>\n<body>\n{body}</body></html>\n"
        ))
    }

    /// Writes the report.
    ///
    /// # Errors
    /// [`ReportError`] naming figure or file.
    pub fn save(&self, path: &Path) -> Result<(), ReportError> {
        let html = self.to_html()?;
        std::fs::write(path, html).map_err(|source| ReportError::Io { path: path.to_owned(), source })
    }
}
