//! What the fuzz targets start from and what they have found, as files: for the tests that replay them. A crate whose directory is
//! beside `tests/` includes it.

use std::fs;
use std::path::Path;

/// Name and bytes of each seed and crash of `target`, in order of their names.
pub(crate) fn of(target: &str) -> Vec<(String, Vec<u8>)> {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz");
    let files = ["seeds", "crashes"]
        .into_iter()
        .flat_map(|kind| fs::read_dir(fuzz.join(kind).join(target)).into_iter().flatten());
    let mut inputs: Vec<_> = files
        .map(|file| {
            let file = file.unwrap();
            (file.file_name().to_string_lossy().into_owned(), fs::read(file.path()).unwrap())
        })
        // What keeps an empty directory in the repository is no input.
        .filter(|(name, _)| name != ".gitkeep")
        .collect();
    inputs.sort();
    inputs
}
