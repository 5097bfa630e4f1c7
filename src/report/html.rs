//! A report as one HTML file that needs nothing else.

use std::path::Path;

use super::{Figure, ReportError, Table};

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
:root { color-scheme: light dark; --ink: #1d1d1f; --soft: #6a6a70; --line: #d9d9de; --back: #fff; --card: #f6f6f8 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8ea; --soft: #a0a0a8; --line: #3a3a40; --back: #17171a; --card: #202024 }
}
body { margin: 2.5rem auto; max-width: 62rem; padding: 0 1.2rem; color: var(--ink); background: var(--back);
  font: 16px/1.55 system-ui, sans-serif }
h1 { font-size: 1.9rem; line-height: 1.2; margin-bottom: .4rem }
h2 { font-size: 1.25rem; margin-top: 2.4rem; border-bottom: 1px solid var(--line); padding-bottom: .3rem }
.lead { color: var(--soft); max-width: 46rem }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums }
caption { text-align: left; color: var(--soft); padding-bottom: .3rem }
th, td { padding: .35rem .9rem .35rem 0; text-align: left; border-bottom: 1px solid var(--line) }
th { font-weight: 600 } .number { text-align: right }
figure { margin: 1.2rem 0; background: #fff; border-radius: .5rem; padding: .6rem; border: 1px solid var(--line) }
figure svg { width: 100%; height: auto; display: block }
figcaption { color: #55555c; font-size: .9rem; padding: .4rem .4rem 0 }
pre { background: var(--card); padding: .8rem 1rem; border-radius: .5rem; overflow-x: auto; font-size: .9rem }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.2rem } dt { color: var(--soft) } dd { margin: 0 }
";

/// Text safe within HTML, attributes included.
pub(super) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            _ => safe.push(character),
        }
    }
    safe
}

impl Block {
    fn to_html(&self) -> Result<String, ReportError> {
        Ok(match self {
            Self::Paragraph(text) => format!("<p>{}</p>\n", escape(text)),
            Self::Table(table) => table.to_html(),
            Self::Code(text) => format!("<pre><code>{}</code></pre>\n", escape(text)),
            Self::Figure(figure) => {
                let svg = scalable(&figure.to_svg()?);
                format!("<figure>{svg}<figcaption>{}</figcaption></figure>\n", escape(&figure.caption))
            }
            Self::KeyValues(pairs) => {
                let items: String =
                    pairs.iter().map(|(k, v)| format!("<dt>{}</dt><dd>{}</dd>", escape(k), escape(v))).collect();
                format!("<dl>{items}</dl>\n")
            }
        })
    }
}

/// The drawing library's SVG has a view box as well as a fixed size: without the size it scales with the page.
fn scalable(svg: &str) -> String {
    let Some(start) = svg.find("<svg") else { return svg.to_owned() };
    let svg = &svg[start..];
    let Some((head, rest)) = svg.split_once('>') else { return svg.to_owned() };
    let kept: Vec<_> =
        head.split(' ').filter(|part| !part.starts_with("width=") && !part.starts_with("height=")).collect();
    format!("{}>{rest}", kept.join(" "))
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
