//! Figures and reports: files that are what they say, whatever the values.

use jostle::report::{
    AxisScale, Block, Figure, HtmlReport, Panel, ReportError, Section, Series, SeriesPoint, Table, band,
};

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
    let text = std::fs::read_to_string(svg).unwrap();
    let size = format!("width=\"{}\" height=\"{}\"", side(16) / 2, side(20) / 2);
    assert!(text.contains(&size), "the PNG is twice the SVG's size: {size}");
    assert!(side(16) > 2 * side(20), "two panels side by side");
    for label in ["Noise modes", "epoch", "none", "layer &lt;b&gt;"] {
        assert!(text.contains(label), "{label} is not in the SVG");
    }
}

#[test]
fn an_axis_of_names_has_them_in_place_of_numbers() {
    let names = ["none", "all", "layer & more"];
    let marks = |at: usize| Series { scatter: true, ..Series::line(names[at], [(at as f64 + 1.0, 20.0 + at as f64)]) };
    let panel =
        Panel { series: (0..3).map(marks).collect(), x_names: names.map(str::to_owned).into(), ..Panel::default() };
    let svg = Figure { panels: vec![panel], ..Figure::default() }.to_svg().unwrap();
    let texts: Vec<&str> =
        svg.split("<text").skip(1).filter_map(|text| text.split('>').nth(1)).map(str::trim).collect();
    let count = |name: &str| texts.iter().filter(|text| text.starts_with(name)).count();
    for name in ["none", "all", "layer &amp; more"] {
        assert_eq!(count(name), 2, "{name}: once in the legend, once at its mark: {texts:?}");
    }
    assert_eq!(count("1") + count("3"), 0, "{texts:?}");
}

/// Of a table only numbers are kept on one line: long claims and headers make it no wider than the window.
#[test]
fn words_of_a_table_may_break() {
    let table =
        Table::new("", &["what was measured", "value"], vec![vec!["a long claim".to_owned(), "0.5 ± 0.1".to_owned()]]);
    let section = Section { heading: "Result".to_owned(), blocks: vec![Block::Table(table)] };
    let report = HtmlReport { title: "t".to_owned(), lead: Vec::new(), sections: vec![section] };
    let html = report.to_html().unwrap();
    let unbroken: Vec<&str> = html.lines().filter(|line| line.contains("nowrap")).collect();
    assert_eq!(unbroken, ["td.number { white-space: nowrap }"]);
    assert!(html.contains("<td>a long claim</td><td class=\"number\">0.5 ± 0.1</td>"));
}

#[test]
fn a_stem_keeps_its_dots_and_a_missing_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let [png, svg] = figure().save(&folder.path().join("rate-0.5")).unwrap();
    assert!(png.ends_with("rate-0.5.png") && svg.ends_with("rate-0.5.svg") && png.exists() && svg.exists());
    let error = figure().save(&folder.path().join("missing").join("curves")).unwrap_err();
    assert!(matches!(&error, ReportError::Io { path, .. } if path.ends_with("missing/curves.png")), "{error}");
}

#[test]
fn svg_is_well_formed_whatever_the_labels() {
    let mut awkward = figure();
    awkward.title = "control \u{1} & \"quotes\" </svg>".repeat(9);
    awkward.panels[0].title = "long ".repeat(60);
    awkward.panels[0].series = (0..17).map(|i| Series::line(&format!("a long label <{i}>"), [(0.0, 1.0)])).collect();
    let svg = awkward.to_svg().unwrap();
    let mut depth = 0i32;
    for tag in svg.split('<').skip(1) {
        let (tag, _) = tag.split_once('>').expect("a tag ends before the next begins");
        depth += if tag.starts_with('/') { -1 } else { i32::from(!tag.ends_with('/')) };
    }
    assert!(depth == 0 && svg.matches("</svg>").count() == 1 && !svg.contains('\u{1}'));
    assert!((0..17).all(|i| svg.contains(&format!("a long label &lt;{i}&gt;"))), "no label is cut for want of rows");
}

/// Places of everything drawn, in the view box's units, and the view box.
fn extent(svg: &str) -> (Vec<(f64, f64)>, (f64, f64)) {
    let values = |name: &str| -> Vec<&str> {
        svg.split(&format!(" {name}=\"")).skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
    };
    let pair = |text: &str| text.split_once(',').map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap()));
    let points =
        values("points").into_iter().flat_map(|points| points.split_whitespace().filter_map(pair).collect::<Vec<_>>());
    let view: Vec<f64> = values("viewBox")[0].split(' ').map(|n| n.parse().unwrap()).collect();
    (points.collect(), (view[2], view[3]))
}

#[test]
fn every_line_stays_within_the_picture() {
    let wild = SeriesPoint { x: 2.0, y: 1e-3, band: Some((1e-280, 1e3)) };
    let series = vec![Series::banded("wild", vec![SeriesPoint { x: 1.0, ..wild }, wild])];
    let mut figure = figure();
    figure.panels.push(Panel { y_scale: AxisScale::Log, series, ..Panel::default() });
    let (points, (width, height)) = extent(&figure.to_svg().unwrap());
    assert!(points.len() > 100);
    assert!(points.iter().all(|(x, y)| (0.0..=width).contains(x) && (0.0..=height).contains(y)));
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
