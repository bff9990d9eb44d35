//! A chart as SVG: two axes with ticks, lines with marks, a legend below the title.

use std::fmt::Write as _;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 440.0;
/// Room for the ticks' texts and, left of them, the axis's.
const LEFT: f64 = 84.0;
/// Half of the last tick's text stands here.
const RIGHT: f64 = 40.0;
const TOP: f64 = 78.0;
const BOTTOM: f64 = 74.0;
/// Width of a letter of the legend, about; browsers have other fonts than ours.
const LETTER: f64 = 7.0;

/// How values become places on an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Evenly.
    Linear,
    /// By powers of ten.
    Log,
    /// Shares by their distance from 1: 90 %, 99 % and 99.9 % at equal steps.
    Nines,
}

impl Scale {
    fn place(self, value: f64) -> f64 {
        match self {
            Self::Linear => value,
            Self::Log => value.max(1e-9).log10(),
            Self::Nines => -(1.0 - value).max(1e-9).log10(),
        }
    }
}

/// An axis: the first and the last tick are its ends.
#[derive(Clone, Debug)]
pub struct Axis {
    /// What it is of, with the unit.
    pub label: String,
    /// Places on it.
    pub scale: Scale,
    /// Values that are marked, rising, and their texts.
    pub ticks: Vec<(f64, String)>,
}

impl Axis {
    /// 0 at the first tick, 1 at the last.
    fn share(&self, value: f64) -> f64 {
        let end = |tick: Option<&(f64, String)>| self.scale.place(tick.map_or(1.0, |tick| tick.0));
        let (first, last) = (end(self.ticks.first()), end(self.ticks.last()));
        ((self.scale.place(value) - first) / (last - first).max(1e-9)).clamp(0.0, 1.0)
    }
}

/// Whose figures a line shows: the same colour in every chart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The switch's.
    Ours,
    /// The switch's, with other settings.
    OursOtherwise,
    /// The peer's.
    Peer,
    /// Of what cannot be gone below.
    Floor,
}

impl Whose {
    /// Told apart by people who see colours differently, too (Okabe and Ito).
    const fn colour(self) -> &'static str {
        match self {
            Self::Ours => "#0072b2",
            Self::OursOtherwise => "#56b4e9",
            Self::Peer => "#d55e00",
            Self::Floor => "#999999",
        }
    }
}

/// A line.
#[derive(Clone, Debug)]
pub struct Line {
    /// Name in the legend.
    pub name: String,
    /// Its colour.
    pub whose: Whose,
    /// Its points, from left to right.
    pub points: Vec<(f64, f64)>,
    /// A mark at each point.
    pub marks: bool,
}

/// A chart.
#[derive(Clone, Debug)]
pub struct Chart {
    /// Above.
    pub title: String,
    /// Below: where the figures are from.
    pub foot: String,
    /// To the right.
    pub x: Axis,
    /// Upwards.
    pub y: Axis,
    /// The lines.
    pub lines: Vec<Line>,
}

impl Chart {
    /// As SVG.
    pub fn svg(&self) -> String {
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n"
        );
        text(&mut out, WIDTH / 2.0, 24.0, "middle", "font-size=\"16\" fill=\"#222\"", &self.title);
        text(&mut out, WIDTH / 2.0, HEIGHT - 10.0, "middle", "font-size=\"10\" fill=\"#777\"", &self.foot);
        self.axes(&mut out);
        for line in &self.lines {
            self.line(&mut out, line);
        }
        self.legend(&mut out);
        out + "</svg>\n"
    }

    fn x(&self, value: f64) -> f64 {
        LEFT + self.x.share(value) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.share(value) * (HEIGHT - TOP - BOTTOM)
    }

    fn axes(&self, out: &mut String) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for (value, name) in &self.x.ticks {
            let x = self.x(*value);
            let _ = writeln!(out, "<path d=\"M{x:.1} {TOP}V{bottom}\" stroke=\"#ddd\"/>");
            text(out, x, bottom + 18.0, "middle", "fill=\"#444\"", name);
        }
        for (value, name) in &self.y.ticks {
            let y = self.y(*value);
            let _ = writeln!(out, "<path d=\"M{LEFT} {y:.1}H{right}\" stroke=\"#ddd\"/>");
            text(out, LEFT - 8.0, y + 4.0, "end", "fill=\"#444\"", name);
        }
        let _ = writeln!(out, "<path d=\"M{LEFT} {TOP}V{bottom}H{right}\" stroke=\"#444\" fill=\"none\"/>");
        text(out, f64::midpoint(LEFT, right), bottom + 38.0, "middle", "fill=\"#222\"", &self.x.label);
        let (x, y) = (18.0, f64::midpoint(TOP, bottom));
        text(out, x, y, "middle", &format!("fill=\"#222\" transform=\"rotate(-90 {x} {y})\""), &self.y.label);
    }

    fn line(&self, out: &mut String, line: &Line) {
        let colour = line.whose.colour();
        let places: Vec<(f64, f64)> = line.points.iter().map(|(x, y)| (self.x(*x), self.y(*y))).collect();
        let list: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            list.join(" ")
        );
        for (x, y) in places.iter().filter(|_| line.marks) {
            let _ = writeln!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{colour}\"/>");
        }
    }

    /// Each entry as wide as its name, with the same room between all of them.
    fn legend(&self, out: &mut String) {
        const MARK: f64 = 28.0;
        let width = |line: &Line| MARK + line.name.chars().count() as f64 * LETTER;
        let all: f64 = self.lines.iter().map(width).sum();
        let gaps = self.lines.len().saturating_sub(1).max(1) as f64;
        let gap = ((WIDTH - LEFT - RIGHT - all) / gaps).clamp(10.0, 60.0);
        let mut x = LEFT;
        for line in &self.lines {
            let colour = line.whose.colour();
            let _ = writeln!(out, "<path d=\"M{x:.1} 50h22\" stroke=\"{colour}\" stroke-width=\"3\"/>");
            text(out, x + MARK, 54.0, "start", "fill=\"#222\"", &line.name);
            x += width(line) + gap;
        }
    }
}

fn text(out: &mut String, x: f64, y: f64, anchor: &str, more: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" {more}>{text}</text>");
}

/// Round ticks from 0 to at least `most`.
pub fn linear_ticks(most: f64) -> Vec<(f64, String)> {
    let rough = most.max(1e-9) / 6.0;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * power).find(|step| *step >= rough);
    let step = step.unwrap_or(10.0 * power);
    let count = (most / step).ceil().max(1.0) as u32;
    (0..=count)
        .map(|index| {
            let value = f64::from(index) * step;
            (value, if step < 1.0 { format!("{value:.1}") } else { format!("{value:.0}") })
        })
        .collect()
}

/// Powers of ten, between ends that are one, two or five times such: from at most `least` to at least `most`.
pub fn log_ticks(least: f64, most: f64) -> Vec<(f64, String)> {
    let (least, most) = (least.max(1e-6), most.max(1e-6));
    let round = |value: f64| {
        let power = 10_f64.powf(value.log10().floor());
        [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power)
    };
    // A hair's breadth for what the powers lose.
    let first = round(least).into_iter().rev().find(|end| *end <= least * (1.0 + 1e-9)).unwrap_or(least);
    let last = round(most).into_iter().find(|end| *end >= most * (1.0 - 1e-9)).unwrap_or(most);
    let last = if last > first { last } else { first * 10.0 };
    let powers = (first.log10().floor() as i32..=last.log10().ceil() as i32).map(|power| 10_f64.powi(power));
    let inside = powers.filter(|value| *value > first * 1.001 && *value < last * 0.999);
    let all = std::iter::once(first).chain(inside).chain([last]);
    all.map(|value| (value, grouped(value))).collect()
}

/// With commas between thousands.
fn grouped(value: f64) -> String {
    if value < 1.0 {
        // Without what a power of ten has lost.
        return format!("{:.6}", value).trim_end_matches('0').to_owned();
    }
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(ticks: &[(f64, String)]) -> Vec<&str> {
        ticks.iter().map(|tick| tick.1.as_str()).collect()
    }

    #[test]
    fn ticks_are_round_and_cover_the_values() {
        assert_eq!(values(&linear_ticks(33.0)), ["0", "10", "20", "30", "40"]);
        assert_eq!(values(&log_ticks(1.0, 1_000_000.0)).last(), Some(&"1,000,000"));
        assert_eq!(values(&log_ticks(0.8, 30.0)), ["0.5", "1", "10", "50"]);
        assert_eq!(values(&log_ticks(1.0, 1_000_000.0)).len(), 7);
    }

    #[test]
    fn points_are_placed_by_the_scale_and_kept_inside() {
        let axis = Axis { label: String::new(), scale: Scale::Log, ticks: log_ticks(1.0, 100.0) };
        assert_eq!([0.1, 1.0, 10.0, 100.0, 1e9].map(|value| axis.share(value)), [0.0, 0.0, 0.5, 1.0, 1.0]);
        let nines = Axis {
            label: String::new(),
            scale: Scale::Nines,
            ticks: vec![(0.0, "0".into()), (0.9999, "99.99".into())],
        };
        assert!((nines.share(0.99) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn legends_do_not_run_into_each_other_and_ticks_stay_inside() {
        let axis = |ticks| Axis { label: "x".into(), scale: Scale::Log, ticks };
        let names = ["shunt", "shunt, full key", "OVS-DPDK, 16 tables", "testpmd io (the floor)"];
        let line = |name: &str| Line {
            name: name.into(),
            whose: Whose::Peer,
            points: vec![(1.0, 1.0), (1e6, 2.0)],
            marks: true,
        };
        let chart = Chart {
            title: String::new(),
            foot: String::new(),
            x: axis(log_ticks(1.0, 1e6)),
            y: axis(log_ticks(1.0, 10.0)),
            lines: names.map(line).to_vec(),
        };
        let svg = chart.svg();
        let place = |text: &str| -> f64 {
            let before = svg.split(&format!(">{text}<")).next().unwrap();
            before.rsplit("x=\"").next().unwrap().split('"').next().unwrap().parse().unwrap()
        };
        for pair in names.windows(2) {
            let end = place(pair[0]) + pair[0].len() as f64 * LETTER;
            assert!(end + 10.0 <= place(pair[1]) - 22.0, "{pair:?}: {svg}");
        }
        let last = place("1,000,000") + 9.0 / 2.0 * LETTER;
        assert!(last <= WIDTH, "{last}");
    }

    #[test]
    fn names_are_escaped() {
        let axis = |label: &str| Axis { label: label.into(), scale: Scale::Linear, ticks: linear_ticks(1.0) };
        let line = Line {
            name: "a & b".into(),
            whose: Whose::Ours,
            points: vec![(0.0, 0.0), (1.0, 1.0)],
            marks: true,
        };
        let chart =
            Chart { title: "<x>".into(), foot: String::new(), x: axis("x"), y: axis("y"), lines: vec![line] };
        let svg = chart.svg();
        assert!(
            svg.contains("&lt;x&gt;") && svg.contains("a &amp; b") && svg.matches("<circle").count() == 2
        );
    }
}
