//! Replays the fuzz targets' corpora: what once broke a parser, or is a sound
//! example of its input, is tried on every run.

#[path = "../../fuzz/bodies.rs"]
mod bodies;

use std::path::Path;

use proptest::prelude::*;

#[test]
fn every_corpus_passes() {
    for (target, body) in bodies::TARGETS {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
        let inputs: Vec<_> = std::fs::read_dir(corpus).expect(target).collect();
        assert!(inputs.len() >= 5, "{target} has no corpus");
        for input in inputs {
            let path = input.expect("an entry").path();
            let data = std::fs::read(&path).expect("an input");
            println!("{}", path.display());
            body(&data);
            // And every cut of it.
            (0..data.len()).step_by(data.len() / 64 + 1).for_each(|len| body(&data[..len]));
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_pass(data: Vec<u8>) {
        for (_, body) in bodies::TARGETS {
            body(&data);
        }
    }
}
