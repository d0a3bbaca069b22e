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

/// Steps of the axis in milliseconds, each with what is shown of the time, as a range of its text form.
const STEPS: [(i64, std::ops::Range<usize>); 27] = [
    (1, 17..23),
    (10, 17..23),
    (100, 17..23),
    (250, 17..23),
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
    (315_360_000_000, 0..10),
    (3_153_600_000_000, 0..10),
    (15_768_000_000_000, 0..10),
    (63_072_000_000_000, 0..10),
];

/// Marks of the axis at most: what fits on a phone.
const MAX_MARKS: i64 = 6;

/// Between two ticks, and between two gaps that are too narrow to be seen, in percent of the width: what is finer is
/// thinned out evenly, so that a bar of thousands does not look as if it ended half-way.
const MIN_DISTANCE: f64 = 0.5;

/// The narrowest gap that is seen by itself, in percent of the width.
const MIN_GAP: f64 = 0.2;

/// The narrowest bar that is easily hit, in percent of the width; others are surrounded by what is not seen.
const MIN_HIT: f64 = 3.0;

/// The narrowest gap that its length is written in, in percent of the width.
const MIN_GAP_TEXT: f64 = 12.0;

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
    let axis = draw_axis(window, top);
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
        if gap_right - gap_left > MIN_GAP_TEXT {
            let (middle, text) = ((gap_left + gap_right) / 2.0, length(end - start));
            lengths
                .push_str(&format!("<text class=\"gap-length\" x=\"{middle:.3}%\" y=\"{}\">{text}</text>", top + 15));
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

fn draw_axis(window: Window, height: usize) -> String {
    let mut out = String::from("<g class=\"axis\" aria-hidden=\"true\">\n");
    let width = window.to_ms - window.from_ms;
    let (step, shown) = STEPS.iter().find(|(step, _)| width / step < MAX_MARKS).unwrap_or(&STEPS[STEPS.len() - 1]);
    let first = window.from_ms.div_euclid(*step) * step;
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
        // A label near the right edge would be cut off: it ends at its mark.
        let class = if at > 85.0 { "mark end" } else { "mark" };
        out.push_str(&format!("<line x1=\"{at:.3}%\" x2=\"{at:.3}%\" y1=\"18\" y2=\"{height}\"/>"));
        out.push_str(&format!("<text class=\"{class}\" x=\"{at:.3}%\" y=\"12\">{text}</text>\n"));
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

    fn marks(from_ms: i64, to_ms: i64) -> Vec<String> {
        let drawing = draw_axis(Window { from_ms, to_ms }, 100);
        let texts = drawing.split("<text").skip(1);
        texts.map(|part| part.split_once('>').unwrap().1.split_once('<').unwrap().0.to_owned()).collect()
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
        let drawing = draw(Window { from_ms: 0, to_ms: 100_000 }, &[Row { bars: vec![one], ..Row::default() }]);
        assert_eq!(drawing.matches("class=\"gap\"").count(), 3);
        assert_eq!(drawing.matches("class=\"gap-length\"").count(), 1);
    }
}
