//! A timeline as SVG: rows of bars over a UTC axis.
//!
//! Knows intervals and texts, no sessions. Positions across are percent and positions down are pixels, so that the drawing
//! fits any width while its text keeps its size, without a script and without a style attribute, which the page's content
//! security policy forbids. What is drawn is also in a table beside it; the drawing's links are named, in time order.
//!
//! Nothing is told by colour alone: gaps are hatched and have their length beside them, an open bar is dashed.

use super::html::{escape, length};
use livesession_grouping::time::Timestamp;

/// A window of time, never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub from_ms: i64,
    pub to_ms: i64,
}

/// A bar, as a link if it leads anywhere.
#[derive(Clone, Debug, Default)]
pub struct Bar {
    pub start_ms: i64,
    pub end_ms: i64,
    /// Path of what the bar leads to.
    pub link: Option<String>,
    /// What the bar is, in words.
    pub name: String,
    /// Not complete yet.
    pub open: bool,
    /// Where files begin.
    pub ticks: Vec<i64>,
    /// Silences inside.
    pub gaps: Vec<(i64, i64)>,
}

/// Bars of one thing.
#[derive(Clone, Debug, Default)]
pub struct Row {
    pub label: String,
    /// Path of what the label leads to.
    pub link: Option<String>,
    pub bars: Vec<Bar>,
}

/// Steps of the axis in milliseconds, each with what is shown of the time, as a range of its text form. None is more than
/// five times the one before it, so that there is one of which fewer than [`MAX_MARKS`] fit into a window.
const STEPS: [(i64, std::ops::Range<usize>); 32] = [
    (1, 17..23),
    (5, 17..23),
    (10, 17..23),
    (50, 17..23),
    (100, 17..23),
    (250, 17..23),
    (500, 17..23),
    (1_000, 11..19),
    (5_000, 11..19),
    (15_000, 11..19),
    (30_000, 11..19),
    (60_000, 11..16),
    (300_000, 11..16),
    (900_000, 11..16),
    (1_800_000, 11..16),
    (3_600_000, 11..16),
    (7_200_000, 11..16),
    (10_800_000, 11..16),
    (21_600_000, 11..16),
    (43_200_000, 11..16),
    (86_400_000, 5..10),
    (172_800_000, 5..10),
    (604_800_000, 5..10),
    (2_592_000_000, 0..10),
    (7_776_000_000, 0..10),
    (31_536_000_000, 0..10),
    (157_680_000_000, 0..10),
    (315_360_000_000, 0..10),
    (1_576_800_000_000, 0..10),
    (3_153_600_000_000, 0..10),
    (15_768_000_000_000, 0..10),
    (63_072_000_000_000, 0..10),
];

/// Marks of the axis at most, however wide it is.
const MAX_MARKS: i64 = 6;

/// The layouts of the texts: their class in the stylesheet, which shows one of them, and the width in pixels that the
/// drawing has at least where it does.
const LAYOUTS: [(&str, f64); 2] = [("narrow", NARROW_PX), ("wide", WIDE_PX)];

/// The least width of the drawing in pixels: a window of 320 less [`AROUND_PX`].
const NARROW_PX: f64 = 320.0 - AROUND_PX;

/// The least width of the drawing in pixels where the stylesheet shows the wide layout: a window of 736 less [`AROUND_PX`].
const WIDE_PX: f64 = 736.0 - AROUND_PX;

/// Padding of the page and a scroll bar, in pixels.
const AROUND_PX: f64 = 48.0;

/// The width of a character in pixels that no font exceeds: a digit or a colon fits into the square of the font size, which
/// is that of `.mark` and `.gap-length`. Fonts differ by a factor of four, and the server does not know which one is shown.
const CHARACTER_PX: f64 = 12.0;

/// The least distance between two texts, in pixels.
const TEXT_DISTANCE_PX: f64 = 4.0;

/// Between two ticks, and between two gaps that are too narrow to be seen, in percent of the width: what is finer is
/// thinned out evenly, so that a bar of thousands does not look as if it ended half-way.
const MIN_DISTANCE: f64 = 0.5;

/// The narrowest gap that is seen by itself, in percent of the width.
const MIN_GAP: f64 = 0.2;

/// The narrowest bar that is easily hit, in percent of the width; others are surrounded by what is not seen.
const MIN_HIT: f64 = 3.0;

/// Characters of a label at most: more than fit on a desktop.
const MAX_LABEL: usize = 200;

const AXIS_PX: usize = 28;
const LABEL_PX: usize = 20;
const LANE_PX: usize = 26;
const BAR_PX: usize = 22;
const ROW_GAP_PX: usize = 8;

impl Window {
    /// Returns where a time is, in percent of the width; beyond an edge at the edge.
    fn percent(self, ms: i64) -> f64 {
        let (inside, width) = (ms.clamp(self.from_ms, self.to_ms) - self.from_ms, (self.to_ms - self.from_ms).max(1));
        inside as f64 / width as f64 * 100.0
    }

    fn overlaps(self, bar: &Bar) -> bool {
        bar.start_ms < self.to_ms && bar.end_ms.max(bar.start_ms + 1) > self.from_ms
    }
}

/// Draws the rows.
pub fn draw(window: Window, rows: &[Row]) -> String {
    let mut body = String::new();
    let mut top = AXIS_PX;
    for row in rows {
        let bars: Vec<&Bar> = row.bars.iter().filter(|bar| window.overlaps(bar)).collect();
        body.push_str(&draw_label(row, top));
        top += LABEL_PX;
        let (lanes, count) = lanes(&bars);
        for (bar, lane) in bars.iter().zip(lanes) {
            draw_bar(window, bar, top + lane * LANE_PX, &mut body);
        }
        top += count.max(1) * LANE_PX + ROW_GAP_PX;
    }
    let axis: String = LAYOUTS.iter().map(|(class, width_px)| draw_axis(window, top, class, *width_px)).collect();
    format!(
        "<svg class=\"timeline\" role=\"group\" aria-label=\"Timeline\" width=\"100%\" height=\"{top}\">\n\
         <defs><pattern id=\"hatch\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
         <rect class=\"hatch-ground\" width=\"6\" height=\"6\"/><rect class=\"hatch-line\" width=\"2\" height=\"6\"/></pattern></defs>\n\
         {axis}{body}</svg>\n"
    )
}

/// Writes the label of a row. In a drawing of its own, which cuts off what is too long for the window.
fn draw_label(row: &Row, top: usize) -> String {
    let text = escape(&super::html::shortened(&row.label, MAX_LABEL));
    let text = format!("<title>{}</title><text class=\"label\" x=\"0\" y=\"14\">{text}</text>", escape(&row.label));
    let text = match &row.link {
        Some(link) => format!("<a href=\"{}\">{text}</a>", escape(link)),
        None => format!("<g>{text}</g>"),
    };
    format!("<svg y=\"{top}\" width=\"100%\" height=\"{LABEL_PX}\">{text}</svg>\n")
}

/// Returns the lane of each bar, and how many there are: bars that overlap are drawn below each other.
fn lanes(bars: &[&Bar]) -> (Vec<usize>, usize) {
    let mut ends: Vec<i64> = Vec::new();
    let mut chosen = Vec::with_capacity(bars.len());
    for bar in bars {
        let end = bar.end_ms.max(bar.start_ms + 1);
        let lane = ends.iter().position(|free_from| *free_from <= bar.start_ms);
        let lane = lane.unwrap_or_else(|| {
            ends.push(0);
            ends.len() - 1
        });
        ends[lane] = end;
        chosen.push(lane);
    }
    (chosen, ends.len())
}

fn draw_bar(window: Window, bar: &Bar, top: usize, out: &mut String) {
    let (left, right) = (window.percent(bar.start_ms), window.percent(bar.end_ms));
    let class = if bar.open { "bar open" } else { "bar" };
    let name = escape(&bar.name);
    match &bar.link {
        Some(link) => out.push_str(&format!("<a href=\"{}\" aria-label=\"{name}\">", escape(link))),
        None => out.push_str("<g>"),
    }
    out.push_str(&format!("<title>{name}</title>"));
    out.push_str(&rect(class, left, right, top, BAR_PX));
    if right - left < MIN_HIT {
        out.push_str(&rect("hit", left, right, top, BAR_PX));
    }
    // Beside the link and not in it: the link has a name, which says more.
    let mut lengths = String::new();
    let mut last = f64::NEG_INFINITY;
    for (start, end) in bar.gaps.iter().filter(|(start, end)| *start < window.to_ms && *end > window.from_ms) {
        let (gap_left, gap_right) = (window.percent(*start), window.percent(*end));
        if gap_right - gap_left < MIN_GAP && gap_left - last < MIN_DISTANCE {
            continue;
        }
        last = gap_left;
        out.push_str(&rect("gap", gap_left, gap_right, top, BAR_PX));
        let (middle, text) = ((gap_left + gap_right) / 2.0, length(end - start));
        let fits = |width_px| room(&text, width_px) <= gap_right - gap_left;
        if fits(WIDE_PX) {
            let class = if fits(NARROW_PX) { "gap-length" } else { "gap-length wide" };
            lengths.push_str(&format!("<text class=\"{class}\" x=\"{middle:.3}%\" y=\"{}\">{text}</text>", top + 15));
        }
    }
    let mut last = f64::NEG_INFINITY;
    for tick in bar.ticks.iter().filter(|tick| (window.from_ms..window.to_ms).contains(*tick)) {
        let at = window.percent(*tick);
        if at - last >= MIN_DISTANCE {
            let (y1, y2) = (top, top + BAR_PX);
            out.push_str(&format!("<line class=\"tick\" x1=\"{at:.3}%\" x2=\"{at:.3}%\" y1=\"{y1}\" y2=\"{y2}\"/>"));
            last = at;
        }
    }
    out.push_str(if bar.link.is_some() { "</a>\n" } else { "</g>\n" });
    out.push_str(&lengths);
}

/// A rectangle that is seen however short its time is: at least 2 pixels, by its outline.
fn rect(class: &str, left: f64, right: f64, top: usize, height: usize) -> String {
    let width = (right - left).max(0.05);
    format!("<rect class=\"{class}\" x=\"{left:.3}%\" width=\"{width:.3}%\" y=\"{top}\" height=\"{height}\"/>")
}

/// Returns the width in percent that a text takes at most in a drawing of `width_px`, with the distance to the next one.
fn room(text: &str, width_px: f64) -> f64 {
    (text.chars().count() as f64 * CHARACTER_PX + TEXT_DISTANCE_PX) / width_px * 100.0
}

/// Draws the axis for drawings of at least `width_px`: with the finest step of which every text fits.
fn draw_axis(window: Window, height: usize, class: &str, width_px: f64) -> String {
    let mut out = format!("<g class=\"axis {class}\" aria-hidden=\"true\">\n");
    let width = window.to_ms - window.from_ms;
    let fits = |(step, shown): &&(i64, std::ops::Range<usize>)| {
        let text_px = shown.len() as f64 * CHARACTER_PX + TEXT_DISTANCE_PX;
        width / step < MAX_MARKS && *step as f64 / width as f64 * width_px >= text_px
    };
    // A step that is longer than the window may have no mark in it.
    let mut steps = STEPS.iter().take_while(|(step, _)| *step <= width);
    let coarsest = steps.clone().last().unwrap_or(&STEPS[0]);
    let (step, shown) = steps.find(fits).unwrap_or(coarsest);
    let first = window.from_ms.div_euclid(*step) * step;
    // Up to where the texts before reach, in percent.
    let mut reached = 0.0;
    for mark in 0..=MAX_MARKS + 1 {
        let ms = first + mark * step;
        let Some(time) = Timestamp::from_ms(ms).filter(|_| (window.from_ms..window.to_ms).contains(&ms)) else {
            continue;
        };
        let at = window.percent(ms);
        let text = time.to_string();
        // Midnight is a date: which day it is matters more than that it is zero.
        let is_midnight = *step < 86_400_000 && ms.rem_euclid(86_400_000) == 0;
        let text = if is_midnight { &text[5..10] } else { &text[shown.clone()] };
        out.push_str(&format!("<line x1=\"{at:.3}%\" x2=\"{at:.3}%\" y1=\"18\" y2=\"{height}\"/>\n"));
        // A text near the right edge would be cut off: it ends at its mark.
        let room = room(text, width_px);
        let (class, left) = if at + room > 100.0 { ("mark end", at - room) } else { ("mark", at) };
        // The mark stays without a text if that of the mark before it is in the way.
        if left >= reached {
            reached = left + room;
            out.push_str(&format!("<text class=\"{class}\" x=\"{at:.3}%\" y=\"12\">{text}</text>\n"));
        }
    }
    out.push_str("</g>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(start_ms: i64, end_ms: i64) -> Bar {
        Bar { start_ms, end_ms, name: format!("{start_ms} to {end_ms}"), link: Some("/x".to_owned()), ..Bar::default() }
    }

    /// Returns the texts of an axis, each with the percentages between which the widest font draws it.
    fn placed(from_ms: i64, to_ms: i64, width_px: f64) -> Vec<(f64, f64, String)> {
        let drawing = draw_axis(Window { from_ms, to_ms }, 100, "x", width_px);
        let place = |part: &str| {
            let text = part.split_once('>').unwrap().1.split_once('<').unwrap().0.to_owned();
            let at: f64 = part.split_once("x=\"").unwrap().1.split_once('%').unwrap().0.parse().unwrap();
            let width = text.len() as f64 * CHARACTER_PX / width_px * 100.0;
            if part.contains("mark end") { (at - width, at, text) } else { (at, at + width, text) }
        };
        drawing.split("<text").skip(1).map(place).collect()
    }

    fn marks_at(width_px: f64, from_ms: i64, to_ms: i64) -> Vec<String> {
        placed(from_ms, to_ms, width_px).into_iter().map(|(_, _, text)| text).collect()
    }

    fn marks(from_ms: i64, to_ms: i64) -> Vec<String> {
        marks_at(WIDE_PX, from_ms, to_ms)
    }

    #[test]
    fn axis_has_few_round_marks_in_windows_of_any_length() {
        let day = 86_400_000;
        let noon = 20_000 * day + day / 2;
        assert_eq!(marks(noon, noon + 1_000), ["00.000", "00.250", "00.500", "00.750"]);
        assert_eq!(marks(noon, noon + 3_600_000), ["12:00", "12:15", "12:30", "12:45"]);
        assert_eq!(marks(noon, noon + day), ["12:00", "18:00", "10-05", "06:00"]);
        let mut width = 1;
        while width <= Timestamp::MAX.as_ms() {
            let count = marks(0, width).len();
            assert!((1..=7).contains(&count), "{count} marks in {width} ms");
            width = width * 3 / 2 + 1;
        }
    }

    #[test]
    fn axis_of_a_phone_has_fewer_round_marks() {
        let day = 86_400_000;
        let noon = 20_000 * day + day / 2;
        assert_eq!(marks_at(NARROW_PX, noon, noon + 1_000), ["00.000", "00.500"]);
        assert_eq!(marks_at(NARROW_PX, noon, noon + 3_600_000), ["12:00", "12:15", "12:30", "12:45"]);
        // At 13:00 there is a line: its text would not fit to the right, nor beside that of 12:30.
        assert_eq!(marks_at(NARROW_PX, noon, noon + 4_500_000), ["12:00", "12:30"]);
        assert_eq!(marks_at(NARROW_PX, noon, noon + 20 * 60_000), ["12:00", "12:05", "12:10", "12:15"]);
        assert_eq!(marks_at(NARROW_PX, noon, noon + 5_000), ["12:00:00"]);
        assert_eq!(marks_at(NARROW_PX, noon, noon + 300 * day), ["2024-12-13"]);
    }

    #[test]
    fn texts_of_the_axis_fit_in_the_widest_font() {
        for (_, width_px) in LAYOUTS {
            let mut width = 1;
            while width <= Timestamp::MAX.as_ms() {
                for from_ms in [0, width / 7, width / 3, width / 2 + 1] {
                    let placed = placed(from_ms, (from_ms + width).min(Timestamp::MAX.as_ms()), width_px);
                    assert!(!placed.is_empty(), "{width} ms from {from_ms}, {width_px} px");
                    let is_inside = placed.iter().all(|(left, right, _)| *left >= 0.0 && *right <= 100.0);
                    let is_apart = placed.windows(2).all(|pair| pair[0].1 < pair[1].0);
                    assert!(is_inside && is_apart, "{width} ms from {from_ms}, {width_px} px: {placed:?}");
                }
                width = width * 4 / 3 + 1;
            }
        }
    }

    /// The layouts are chosen by the stylesheet, and text is as large there as it is assumed here.
    #[test]
    fn stylesheet_has_the_widths_and_the_font_size() {
        let style = include_str!("style.css");
        assert!(style.contains(&format!("@media (min-width: {}px) {{ .timeline .narrow", WIDE_PX + AROUND_PX)));
        for class in [".mark", ".gap-length"] {
            let rule = style.split_once(&format!(".timeline {class} {{")).unwrap().1.split_once('}').unwrap().0;
            assert!(rule.contains(&format!("font-size: {CHARACTER_PX}px")), "{class}: {rule}");
        }
    }

    #[test]
    fn bars_are_clipped_to_the_window_and_none_is_invisible() {
        let window = Window { from_ms: 1_000, to_ms: 2_000 };
        let rows = [Row {
            label: "x".to_owned(),
            link: None,
            bars: vec![bar(0, 1_500), bar(1_600, 1_600), bar(1_900, 9_000), bar(2_000, 2_100), bar(0, 1_000)],
        }];
        let drawing = draw(window, &rows);
        assert!(drawing.contains("x=\"0.000%\" width=\"50.000%\""), "{drawing}");
        assert!(drawing.contains("x=\"60.000%\" width=\"0.050%\""), "{drawing}");
        assert!(drawing.contains("x=\"90.000%\" width=\"10.000%\""), "{drawing}");
        assert_eq!(drawing.matches("<a ").count(), 3, "what is outside is not drawn");
    }

    #[test]
    fn bars_that_overlap_get_lanes_of_their_own() {
        let bars = [bar(0, 10), bar(5, 8), bar(6, 20), bar(10, 12), bar(12, 12)];
        let (lanes, count) = lanes(&bars.iter().collect::<Vec<_>>());
        assert_eq!((lanes, count), (vec![0, 1, 2, 0, 0], 3));
    }

    #[test]
    fn texts_are_escaped() {
        let hostile = "\"><script>alert(1)</script>";
        let mut one = bar(0, 10);
        one.name = hostile.to_owned();
        one.link = Some(hostile.to_owned());
        let drawing = draw(
            Window { from_ms: 0, to_ms: 10 },
            &[Row { label: hostile.to_owned(), link: Some(hostile.to_owned()), bars: vec![one] }],
        );
        assert!(!drawing.contains("<script"), "{drawing}");
    }

    #[test]
    fn five_thousand_files_are_thinned_out_over_the_whole_bar() {
        let mut one = bar(0, 5_000_000);
        one.ticks = (0..5_000).map(|n| n * 1_000).collect();
        one.gaps = (0..5_000).map(|n| (n * 1_000, n * 1_000 + 1)).collect();
        one.gaps.push((4_999_100, 4_999_900));
        let drawing = draw(Window { from_ms: 0, to_ms: 5_000_000 }, &[Row { bars: vec![one], ..Row::default() }]);
        for class in ["tick", "gap"] {
            let count = drawing.matches(&format!("class=\"{class}\"")).count();
            assert!((190..=201).contains(&count), "{count} of {class}");
        }
        assert!(drawing.contains("x1=\"99.500%\""), "up to the end");
        assert!(drawing.len() < 100_000, "{} bytes", drawing.len());
    }

    #[test]
    fn gap_that_can_be_seen_is_drawn_with_its_length() {
        let mut one = bar(0, 100_000);
        one.gaps = vec![(0, 100), (200, 400), (1_000, 14_000)];
        let drawing = draw(Window { from_ms: 0, to_ms: 100_000 }, &[Row { bars: vec![one.clone()], ..Row::default() }]);
        assert_eq!(drawing.matches("class=\"gap\"").count(), 3);
        assert_eq!(drawing.matches("class=\"gap-length").count(), 1);
        assert!(drawing.contains("class=\"gap-length wide\" x=\"7.500%\""), "13 % of a phone are too few: {drawing}");
        one.gaps = vec![(10_000, 45_000)];
        let drawing = draw(Window { from_ms: 0, to_ms: 100_000 }, &[Row { bars: vec![one], ..Row::default() }]);
        assert!(drawing.contains("class=\"gap-length\" x=\"27.500%\""), "35 % of a phone are enough: {drawing}");
    }
}
