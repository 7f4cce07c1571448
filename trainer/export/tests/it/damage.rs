//! Files that were cut or changed: an error or another network, never a panic.

use export::ModelFile;

use crate::networks::{Random, calibration, info, network, photo};

#[test]
fn a_cut_file_is_refused() {
    let (graph, info) = (network(7), info());
    let calibration = calibration(&graph, &info);
    let mut num_cuts = 0;
    for file in ModelFile::ALL {
        let bytes = file.write(&graph, &info, &calibration).unwrap();
        for at in (0..bytes.len() - 1).step_by(bytes.len() / 200) {
            // ONNX's metadata comes last and may be missing without harm.
            let harmless = file == ModelFile::Onnx && at > bytes.len() * 9 / 10;
            let cut = file.read(&bytes[..at]);
            assert!(
                cut.is_err() || harmless,
                "{file:?} cut at {at} of {}",
                bytes.len()
            );
            num_cuts += 1;
        }
    }
    assert!(num_cuts >= 5 * 200);
}

#[test]
fn a_changed_file_never_panics() {
    let (graph, info) = (network(7), info());
    let calibration = calibration(&graph, &info);
    let random = &mut Random(1);
    let mut num_refused = 0;
    for file in ModelFile::ALL {
        let bytes = file.write(&graph, &info, &calibration).unwrap();
        for _ in 0..400 {
            let mut changed = bytes.clone();
            let place = ((random.next() + 1.0) / 2.0 * bytes.len() as f32) as usize % bytes.len();
            changed[place] ^= ((random.next() + 1.0) * 127.0) as u8 | 1;
            match file.read(&changed) {
                Ok(mut model) => drop(model.logits(&photo(1)).map(<[f32]>::to_vec)),
                Err(_) => num_refused += 1,
            }
        }
    }
    assert!(num_refused > 100, "{num_refused}");
}
