//! Writes `docs/bench.md` and `docs/pick.svg` from the figures that `make bench` measured.

mod aims;
mod figures;
mod heartbeats;
mod machine;
mod page;
mod picks;
mod plot;
mod reservations;
mod table;
mod unit;

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use figures::Figures;

const USAGE: &str = "usage: hive-registry-report FIGURES DOCS

  FIGURES  the folder that `make bench` measured into
  DOCS     the folder to write bench.md and pick.svg to";

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [figures, docs] = arguments.as_slice() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match write(figures.as_ref(), docs.as_ref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Both are made before either is written, so that an error leaves the old ones together.
fn write(figures: &Path, docs: &Path) -> Result<(), Box<dyn Error>> {
    let figures = Figures::read(figures)?;
    let (page, plot) = (page::page(&figures)?, plot::draw(&figures)?);
    fs::create_dir_all(docs).map_err(|error| format!("{}: {error}", docs.display()))?;
    for (name, text) in [("bench.md", page), ("pick.svg", plot)] {
        let path = docs.join(name);
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        println!("{}", path.display());
    }
    Ok(())
}
