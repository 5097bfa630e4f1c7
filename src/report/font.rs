//! The bundled font: figures must not depend on the fonts of the machine.

use std::sync::Once;

use plotters::style::{FontDesc, FontFamily, FontStyle, register_font};

/// The family that figures are set in. An SVG names it as a whole, so that a reader without the first has the next.
pub(super) const FAMILY: &str = "DejaVu Sans, Verdana, sans-serif";

static REGULAR: &[u8] = include_bytes!("../../assets/fonts/DejaVuSans-subset.ttf");
static BOLD: &[u8] = include_bytes!("../../assets/fonts/DejaVuSans-Bold-subset.ttf");

/// Makes the family known to plotters; later calls do nothing.
pub(super) fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for (style, bytes) in [(FontStyle::Normal, REGULAR), (FontStyle::Bold, BOLD)] {
            if register_font(FAMILY, style, bytes).is_err() {
                // The bytes are part of the program and a test draws with them.
                log::error!("the bundled font does not load; figures will lack text");
            }
        }
    });
}

/// Width in pixels of a line of text.
pub(super) fn width(text: &str, size: i32, style: FontStyle) -> i32 {
    // Without the font nothing is drawn either, so that any width will do.
    let font = FontDesc::new(FontFamily::Name(FAMILY), f64::from(size), style);
    font.box_size(text).map_or(0, |(width, _)| width as i32)
}

/// The text and size that fit into `room` pixels: at first smaller, down to three quarters, then cut short.
pub(super) fn fit(text: &str, size: i32, style: FontStyle, room: i32) -> (String, i32) {
    // SVG has no control characters, and a figure's texts are single lines.
    let mut text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let full = width(&text, size, style);
    if full <= room {
        return (text, size);
    }
    let size = (size * room / full).max(size * 3 / 4);
    if width(&text, size, style) <= room {
        return (text, size);
    }
    while text.pop().is_some() {
        let cut = format!("{}…", text.trim_end());
        if width(&cut, size, style) <= room {
            return (cut, size);
        }
    }
    (text, size)
}

/// The lines that a name takes which [`fit`] would cut short: two where it has a joint to part behind, the one nearest to its middle.
pub(super) fn lines(name: &str, size: i32, style: FontStyle, room: i32) -> Vec<&str> {
    let ends =
        name.char_indices().filter(|(_, c)| matches!(c, ' ' | '_' | '.' | '-' | '/')).map(|(at, c)| at + c.len_utf8());
    let joint = ends.filter(|end| *end < name.len()).min_by_key(|end| end.abs_diff(name.len() / 2));
    match joint {
        Some(joint) if width(name, size * 3 / 4, style) > room => vec![&name[..joint], &name[joint..]],
        _ => vec![name],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_shrinks_then_ends_early() {
        register();
        let full = width("a title of some length", 20, FontStyle::Bold);
        assert_eq!(fit("a\ntitle", 20, FontStyle::Bold, full), ("a title".to_owned(), 20));
        let (same, smaller) = fit("a title of some length", 20, FontStyle::Bold, full * 17 / 20);
        assert!(same.ends_with("length") && (15..20).contains(&smaller));
        let (cut, size) = fit("a title of some length", 20, FontStyle::Bold, full / 2);
        assert!(cut.starts_with("a title") && cut.ends_with('…') && size == 15);
        assert_eq!(fit("abc", 20, FontStyle::Normal, 0).0, "");
    }

    #[test]
    fn names_part_behind_a_joint_where_they_are_long() {
        register();
        let full = width("pos_embed.weight", 20, FontStyle::Normal);
        let parted = |room| lines("pos_embed.weight", 20, FontStyle::Normal, room);
        assert_eq!(parted(full), ["pos_embed.weight"]);
        assert_eq!(parted(full * 4 / 5), ["pos_embed.weight"], "small enough when it has shrunk");
        assert_eq!(parted(full / 2), ["pos_embed.", "weight"]);
        assert_eq!(lines("embedding", 20, FontStyle::Normal, full / 4), ["embedding"]);
        assert_eq!(lines("ends_", 20, FontStyle::Normal, 1), ["ends_"]);
    }
}
