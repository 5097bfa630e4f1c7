//! Figures and reports: files that are what they say, whatever the values.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use jostle::report::{AxisScale, Block, Figure, HtmlReport, Panel, Section, Series, SeriesPoint, Table, band};

fn figure() -> Figure {
    let curve = |level: f64| (1..=20).map(|e| (f64::from(e), level / f64::from(e))).collect::<Vec<_>>();
    let series = vec![
        Series::banded("none", band(&[curve(1.0), curve(1.4)])),
        Series::line("layer <b>", curve(0.7)),
        Series::line("diverged", [(1.0, 2.0), (2.0, f64::INFINITY), (3.0, f64::NAN)]),
    ];
    let panel = |title: &str, y_scale| Panel {
        title: title.to_owned(),
        x_label: "epoch".to_owned(),
        y_label: "loss".to_owned(),
        y_scale,
        series: series.clone(),
        ..Panel::default()
    };
    Figure {
        title: "Noise modes".to_owned(),
        caption: "A caption.".to_owned(),
        panels: vec![panel("linear", AxisScale::Linear), panel("log", AxisScale::Log)],
    }
}

#[test]
fn png_and_svg_hold_the_figure() {
    let folder = tempfile::tempdir().unwrap();
    let [png, svg] = figure().save(&folder.path().join("curves")).unwrap();
    let bytes = std::fs::read(png).unwrap();
    assert_eq!(&bytes[1..4], b"PNG");
    let side = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    assert_eq!((side(16), side(20)), (2 * 1040, 2 * 484), "two panels side by side, at twice the SVG's size");
    let text = std::fs::read_to_string(svg).unwrap();
    for label in ["Noise modes", "epoch", "none", "layer &lt;b&gt;"] {
        assert!(text.contains(label), "{label} is not in the SVG");
    }
}

#[test]
fn values_without_a_place_draw_nothing_and_break_nothing() {
    let nothing = Series::line("nothing", [(1.0, f64::NAN), (2.0, 0.0)]);
    let panel = Panel { y_scale: AxisScale::Log, series: vec![nothing], ..Panel::default() };
    let empty = Figure { panels: vec![panel, Panel::default()], ..Figure::default() };
    assert_eq!(empty.to_svg().unwrap().matches("no finite values").count(), 2);
    assert!(Figure::default().to_svg().is_ok());
    let constant = Panel { series: vec![Series::line("constant", [(1.0, 3.0)])], ..Panel::default() };
    let point = SeriesPoint { x: 2.0, y: 3.0, band: Some((-1.0, 4.0)) };
    let banded =
        Panel { y_scale: AxisScale::Log, series: vec![Series::banded("b", vec![point; 2])], ..Panel::default() };
    assert!(Figure { panels: vec![constant, banded], ..Figure::default() }.to_svg().is_ok());
}

#[test]
fn html_is_whole_and_escaped() {
    let table = Table::new("T", &["<script>"], vec![vec!["1 & 2".to_owned()]]);
    let blocks = vec![
        Block::Paragraph("<script>alert(1)</script>".to_owned()),
        Block::Table(table),
        Block::Figure(figure()),
        Block::Code("a < b".to_owned()),
        Block::KeyValues(vec![("k\"".to_owned(), "<v>".to_owned())]),
    ];
    let report = HtmlReport {
        title: "<title>".to_owned(),
        lead: vec!["lead".to_owned()],
        sections: vec![Section { heading: "<h>".to_owned(), blocks }],
    };
    let html = report.to_html().unwrap();
    assert!(!html.contains("<script"), "nothing of the user's becomes a tag");
    assert!(html.contains("1 &amp; 2") && html.contains("a &lt; b") && html.contains("<svg"));
    let outside = html.replace("http://www.w3.org/2000/svg", "");
    assert!(!outside.contains("http:") && !outside.contains("https:"), "loads nothing from the net");
}
