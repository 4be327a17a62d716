//! The plot: time of a pick against workers in the fleet, both on log axes.

use std::error::Error;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::figures::Figures;
use crate::picks::{Fleet, fleets};
use crate::unit::{time, whole};

const SIZE: (u32, u32) = (960, 600);
const FONT: &str = "Helvetica, Arial, sans-serif";
const INK: RGBColor = RGBColor(51, 51, 51);
const PALE: RGBColor = RGBColor(222, 222, 222);
/// Room to the right of the last points, for what the lines are.
const LABELS: u32 = 246;
/// Between the middles of two labels.
const LABEL_HEIGHT: i32 = 30;

struct Series {
    name: &'static str,
    /// What a pick walks.
    walks: &'static str,
    color: RGBColor,
    points: Vec<(f64, f64)>,
}

/// As SVG.
pub(crate) fn draw(figures: &Figures) -> Result<String, Box<dyn Error>> {
    let series = series(figures)?;
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        // Readable on a dark page too.
        root.fill(&WHITE)?;
        drawn(&root, &series)?;
        root.present()?;
    }
    Ok(svg)
}

/// All on the same fleets of 20 models; colours that the colour-blind can tell apart (Okabe and Ito).
fn series(figures: &Figures) -> Result<Vec<Series>, Box<dyn Error>> {
    let fleets: Vec<_> = fleets(figures).into_iter().filter(|fleet| fleet.of_model < fleet.workers).collect();
    let of = |time: &dyn Fn(&Fleet<'_>) -> Option<f64>| -> Vec<(f64, f64)> {
        fleets.iter().filter_map(|fleet| Some((fleet.workers as f64, time(fleet)?))).collect()
    };
    let peer = |name: &str| of(&|fleet| fleet.peer(name).map(|peer| peer.peer_ns));
    let floor = figures.median("floor/pick/all")?;
    let all = [
        ("scan, clones every worker", "walks the fleet", RGBColor(213, 94, 0), peer("plain")),
        ("scan, clones the winner", "walks the fleet", RGBColor(184, 130, 0), peer("plain-in-place")),
        ("dynamo-kv-router", "walks the model's workers", RGBColor(204, 121, 167), peer("dynamo")),
        ("slice for each model", "walks the model's workers", RGBColor(0, 158, 115), peer("cow")),
        ("hive-registry", "walks nothing", RGBColor(0, 90, 160), of(&|fleet| Some(fleet.ours))),
        ("floor", "of any design of these parts", RGBColor(120, 120, 120), of(&|_| Some(floor))),
    ];
    let made = all.map(|(name, walks, color, points)| Series { name, walks, color, points });
    if made.iter().any(|series| series.points.is_empty()) {
        return Err("peers.jsonl: no peer on a fleet of several models; `make bench` measures them".into());
    }
    Ok(made.into())
}

fn drawn(
    root: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    series: &[Series],
) -> Result<(), Box<dyn Error>> {
    let points = || series.iter().flat_map(|series| &series.points);
    let (mut least, mut most) = (f64::MAX, 0.0_f64);
    points().for_each(|(workers, _)| (least, most) = (least.min(*workers), most.max(*workers)));
    let slowest = points().fold(0.0_f64, |slowest, (_, ns)| slowest.max(*ns));
    let style = |size: u32| (FONT, size).into_font().color(&INK);

    root.draw(&Text::new(
        "Time of a pick",
        (24, 18),
        (FONT, 22).into_font().style(FontStyle::Bold).color(&INK),
    ))?;
    let under = "One thread, fleets of hives with 8 workers over 20 models; lower is better";
    root.draw(&Text::new(under, (24, 46), style(14)))?;

    let area = root.margin(72, 14, 10, LABELS);
    let mut chart = ChartBuilder::on(&area).x_label_area_size(52).y_label_area_size(76).build_cartesian_2d(
        (least * 0.8..decade_above(most)).log_scale(),
        (10.0..decade_above(slowest)).log_scale(),
    )?;
    chart
        .configure_mesh()
        .max_light_lines(0)
        .bold_line_style(PALE)
        .axis_style(INK)
        .label_style(style(14))
        .axis_desc_style(style(14))
        .x_desc("workers in the fleet; a model has one in 20 of them")
        .x_label_formatter(&|workers| whole(*workers))
        .y_label_formatter(&|ns| power(*ns))
        .draw()?;

    let mut ends = Vec::new();
    for (n, series) in series.iter().enumerate() {
        let (color, line) = (series.color, series.points.iter().copied());
        if series.name == "floor" {
            chart.draw_series(DashedLineSeries::new(line, 6, 4, color.stroke_width(2)))?;
        } else {
            let width = if series.name == "hive-registry" { 4 } else { 2 };
            chart.draw_series(LineSeries::new(line.clone(), color.stroke_width(width)))?;
            chart.draw_series(line.map(|point| Circle::new(point, 4, color.filled())))?;
        }
        if let Some(last) = series.points.last() {
            ends.push((n, chart.backend_coord(last).1));
        }
    }
    let x = SIZE.0 as i32 - LABELS as i32 + 8;
    for (n, y) in apart(ends) {
        let Series { name, walks, color, points } = &series[n];
        let told = points.last().map(|(_, ns)| time(*ns)).unwrap_or_default();
        let left = Pos::new(HPos::Left, VPos::Center);
        let name_style = (FONT, 14).into_font().style(FontStyle::Bold).color(color).pos(left);
        root.draw(&Text::new(format!("{name}, {told}"), (x, y - 7), name_style))?;
        root.draw(&Text::new(*walks, (x, y + 8), style(12).pos(left)))?;
    }
    Ok(())
}

/// Labels from the top down, each pushed as far as the one above it needs.
fn apart(mut ends: Vec<(usize, i32)>) -> Vec<(usize, i32)> {
    ends.sort_unstable_by_key(|(_, y)| *y);
    for n in 1..ends.len() {
        ends[n].1 = ends[n].1.max(ends[n - 1].1 + LABEL_HEIGHT);
    }
    ends
}

fn decade_above(number: f64) -> f64 {
    10_f64.powf(number.log10().ceil())
}

/// A power of ten in its unit: no digits after a point.
fn power(ns: f64) -> String {
    let units = [("ns", 1.0), ("us", 1e3), ("ms", 1e6), ("s", 1e9)];
    let (unit, scale) = units.into_iter().rfind(|(_, scale)| ns >= scale * 0.999).unwrap_or(units[0]);
    format!("{:.0} {unit}", ns / scale)
}
