//! Draws the plots of `docs/performance.md` from the book of figures, and from nothing else: the same
//! figures give the same files.

use std::fs;
use std::ops::Range;

use anyhow::Context as _;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::*;
use xtask::bench::book::Book;
use xtask::gateway;

/// Width and height.
const SIZE: (u32, u32) = (860, 420);
/// Behind everything: light enough for dark letters, whatever the page around it is.
const PAPER: RGBColor = RGBColor(250, 250, 248);
const INK: RGBColor = RGBColor(40, 40, 40);
const GRID: RGBColor = RGBColor(222, 222, 218);
/// Told apart by people who do not tell red from green (Okabe and Ito, 2008).
const COLORS: [RGBColor; 4] =
    [RGBColor(0, 114, 178), RGBColor(213, 94, 0), RGBColor(0, 158, 115), RGBColor(204, 121, 167)];
const FONT: &str = "sans-serif";

/// A plot, both of its axes logarithmic.
struct Plot {
    file: &'static str,
    title: &'static str,
    x: &'static str,
    y: &'static str,
    lines: Vec<Line>,
}

struct Line {
    name: String,
    points: Vec<(f64, f64)>,
}

fn main() -> anyhow::Result<()> {
    let book = Book::read(&Book::path())?;
    let folder = gateway::root().join("docs/plots");
    fs::create_dir_all(&folder).context("make the folder of the plots")?;
    for plot in plots(&book) {
        let path = folder.join(format!("{}.svg", plot.file));
        fs::write(&path, plot.drawn()?).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

/// Those that something was measured for.
fn plots(book: &Book) -> Vec<Plot> {
    let line = |part: &str, line: &str, name: &str| Line {
        name: name.to_owned(),
        points: book.line(part, line).to_vec(),
    };
    let of = |part: &'static str, names: &[&str]| -> Vec<Line> {
        names.iter().map(|name| line(part, name, name)).collect()
    };
    let mut plots = vec![
        Plot {
            file: "flat-line",
            title: "The size of the store: one operation, p50",
            x: "sessions in the store",
            y: "ms",
            lines: of("list", &["update", "list", "status", "claim"]),
        },
        Plot {
            file: "lateness",
            title: "Lateness of slots",
            x: "jobs due in the same second",
            y: "ms",
            lines: of("fire", &["record, p50", "record, p99", "start, p50", "start, p99"]),
        },
        Plot {
            file: "commits",
            title: "Durable commits per second",
            x: "writers",
            y: "commits/s",
            lines: vec![
                line("store", "commits per second", "this disk"),
                line("store-slow", "commits per second", "4 ms more for every wait"),
            ],
        },
    ];
    // What was not measured yet has no plot.
    plots.retain(|plot| plot.lines.iter().any(|line| !line.points.is_empty()));
    plots
}

impl Plot {
    fn drawn(&self) -> anyhow::Result<String> {
        let mut svg = String::new();
        self.draw(&mut svg).map_err(|error| anyhow::anyhow!("draw {}: {error}", self.file))?;
        Ok(svg + "\n")
    }

    fn draw(&self, svg: &mut String) -> Result<(), Box<dyn std::error::Error>> {
        let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
        area.fill(&PAPER)?;
        let (across, up) = (self.range(|point| point.0), self.range(|point| point.1));
        let mut chart = ChartBuilder::on(&area)
            .caption(self.title, (FONT, 18).into_font().color(&INK))
            .margin(16)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d(Decades(across), Decades(up))?;
        chart
            .configure_mesh()
            .axis_style(INK)
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .label_style((FONT, 13).into_font().color(&INK))
            .axis_desc_style((FONT, 13).into_font().color(&INK))
            .x_desc(self.x)
            .y_desc(self.y)
            .draw()?;
        for (line, color) in self.lines.iter().zip(COLORS) {
            let style = color.stroke_width(2);
            chart
                .draw_series(LineSeries::new(line.points.iter().copied(), style).point_size(3))?
                .label(line.name.as_str())
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(PAPER)
            .border_style(GRID)
            .label_font((FONT, 13).into_font().color(&INK))
            .draw()?;
        area.present()?;
        Ok(())
    }

    /// Whole decades around all points.
    fn range(&self, of: fn(&(f64, f64)) -> f64) -> Range<f64> {
        let values = || {
            let points = self.lines.iter().flat_map(|line| &line.points);
            points.map(of).filter(|value| *value > 0.0)
        };
        let (low, high) = (values().fold(f64::MAX, f64::min), values().fold(0.0, f64::max));
        if high == 0.0 {
            return 1.0..10.0;
        }
        let low = 10_f64.powf(low.log10().floor());
        low..10_f64.powf(high.log10().ceil()).max(low * 10.0)
    }
}

/// A logarithmic axis whose marks are the powers of ten.
#[derive(Clone)]
struct Decades(Range<f64>);

impl Ranged for Decades {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let (low, high) = (self.0.start.log10(), self.0.end.log10());
        let share = (value.max(self.0.start).log10() - low) / (high - low);
        limit.0 + (f64::from(limit.1 - limit.0) * share).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        let decades = |at: f64| at.log10().round() as i32;
        (decades(self.0.start)..=decades(self.0.end)).map(|decade| 10_f64.powi(decade)).collect()
    }

    fn range(&self) -> Range<f64> {
        self.0.clone()
    }
}

impl ValueFormatter<f64> for Decades {
    /// A power of ten as it is written: `0.1`, `1`, `10,000`.
    fn format_ext(&self, value: &f64) -> String {
        if *value < 1.0 {
            return format!("{value}");
        }
        let digits = format!("{value:.0}");
        let mut text = String::new();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                text.push(',');
            }
            text.push(digit);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is checked in is what the book says, and drawing twice gives the same.
    #[test]
    fn the_plots_are_drawn_from_the_book() {
        for plot in plots(&Book::read(&Book::path()).unwrap()) {
            let path = gateway::root().join(format!("docs/plots/{}.svg", plot.file));
            let kept = fs::read_to_string(&path).unwrap();
            assert_eq!(plot.drawn().unwrap(), kept, "{}: cargo xtask bench --draw", path.display());
        }
    }

    #[test]
    fn marks_are_powers_of_ten_as_they_are_written() {
        let axis = Decades(0.01..1e6);
        let marks: Vec<String> =
            [0.01, 1.0, 100.0, 1_000.0, 1e6].iter().map(|mark| axis.format_ext(mark)).collect();
        assert_eq!(marks, ["0.01", "1", "100", "1,000", "1,000,000"]);
        assert_eq!(axis.map(&1e6, (0, 800)), 800);
        assert_eq!(axis.map(&100.0, (0, 800)), 400);
    }
}
