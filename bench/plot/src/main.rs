//! Draws what `cargo xtask bench h3-curve` has measured: the cost of a request, and of an idle connection, against the
//! number of connections. A cost that is proportional is a level line.

use std::{env, error::Error, fs, path::Path, process::ExitCode};

use plotters::coord::Shift;
use plotters::prelude::*;
use serde_json::Value;

/// A contender's name, and its figures by number of connections.
type Curve = (String, Vec<(f64, f64)>);

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [results, image] = arguments.as_slice() else {
        eprintln!("usage: plot RESULTS IMAGE");
        return ExitCode::from(2);
    };
    match draw(Path::new(results), Path::new(image)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("plot: {error}");
            ExitCode::FAILURE
        }
    }
}

fn draw(results: &Path, image: &Path) -> Result<(), Box<dyn Error>> {
    let area = SVGBackend::new(image, (1000, 420)).into_drawing_area();
    area.fill(&WHITE)?;
    let (left, right) = area.split_horizontally(500);
    let small = curves(results, |connections| format!("h3-small-{connections}x32.json"))?;
    chart(&left, "CPU seconds per 100,000 requests of 1 KiB", &small)?;
    let idle = curves(results, |connections| format!("h3-idle-{connections}.json"))?;
    chart(&right, "KiB of memory per idle connection", &idle)?;
    Ok(area.present()?)
}

/// The medians of each contender, from one file for each number of connections.
fn curves(results: &Path, file: impl Fn(u32) -> String) -> Result<Vec<Curve>, Box<dyn Error>> {
    let mut curves: Vec<Curve> = Vec::new();
    for connections in CONNECTIONS {
        let path = results.join(file(connections));
        let text = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let row: Value = serde_json::from_slice(&text)?;
        for result in row["results"].as_array().into_iter().flatten() {
            let named = result["name"].as_str().zip(result["median"].as_f64());
            let (name, median) = named.ok_or("a result without a name or a median")?;
            let point = (f64::from(connections), median.max(0.0));
            match curves.iter_mut().find(|(known, _)| known == name) {
                Some((_, points)) => points.push(point),
                None => curves.push((name.to_owned(), vec![point])),
            }
        }
    }
    Ok(curves)
}

fn chart(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    title: &str,
    curves: &[Curve],
) -> Result<(), Box<dyn Error>> {
    let highest = curves.iter().flat_map(|(_, points)| points).map(|(_, y)| *y).fold(0.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 17))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(48)
        .build_cartesian_2d((1.0..1000.0).log_scale(), 0.0..highest * 1.15 + f64::EPSILON)?;
    chart
        .configure_mesh()
        .x_desc("connections")
        .x_label_formatter(&|connections| format!("{connections:.0}"))
        .light_line_style(TRANSPARENT)
        .draw()?;
    for (index, (name, points)) in curves.iter().enumerate() {
        let style = Palette99::pick(index).stroke_width(if index == 0 { 4 } else { 2 });
        chart
            .draw_series(LineSeries::new(points.iter().copied(), style).point_size(3))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    Ok(())
}

const CONNECTIONS: [u32; 4] = [1, 10, 100, 1000];
