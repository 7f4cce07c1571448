use super::*;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data");

fn small() -> Weights {
    let tensors = [
        (
            "a.weight",
            Tensor::new([2, 3], vec![1.0, -2.5, 3.0, f32::MIN_POSITIVE, 0.0, 6.5]),
        ),
        ("b", Tensor::new([], vec![7.0])),
        ("c", Tensor::new([0, 4], vec![])),
    ];
    Weights {
        tensors: tensors
            .map(|(name, tensor)| (name.to_owned(), tensor))
            .into(),
    }
}

fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

fn fault(bytes: &[u8]) -> String {
    Weights::from_bytes(bytes).unwrap_err().to_string()
}

#[test]
fn what_is_written_is_read_back() {
    let bytes = small().to_safetensors(&[("by".to_owned(), "me".to_owned())].into());
    assert_eq!(Weights::from_bytes(&bytes).unwrap(), small());
    assert!(
        str::from_utf8(&bytes[8..60])
            .unwrap()
            .contains(r#""by":"me""#)
    );
    assert_eq!(small().num_values(), 7);
}

#[test]
fn a_file_is_read_and_hashed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights");
    let bytes = small().to_safetensors(&BTreeMap::new());
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(Weights::read(&path).unwrap(), small());
    assert_eq!(sha256_of_file(&path).unwrap(), Sha256::of(&bytes));
    let missing = Weights::read(&folder.path().join("none")).unwrap_err();
    assert!(matches!(
        missing,
        WeightsError::File {
            action: "opening it",
            ..
        }
    ));
}

#[test]
fn half_precision_tensors_become_float32_and_counters_are_left_out() {
    let header = r#"{"h":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},
        "b":{"dtype":"BF16","shape":[1],"data_offsets":[4,6]},
        "n":{"dtype":"I64","shape":[],"data_offsets":[6,14]}}"#;
    let data = [0x00, 0x3c, 0x00, 0xc0, 0x80, 0x3f, 9, 0, 0, 0, 0, 0, 0, 0];
    let weights = Weights::from_bytes(&safetensors(header, &data)).unwrap();
    assert_eq!(weights.tensors["h"].values, [1.0, -2.0]);
    assert_eq!(weights.tensors["b"].values, [1.0]);
    assert_eq!(weights.tensors.len(), 2);
}

#[test]
fn a_cut_safetensors_is_refused_at_every_length() {
    let bytes = small().to_safetensors(&BTreeMap::new());
    for length in 0..bytes.len() {
        assert!(Weights::from_bytes(&bytes[..length]).is_err(), "{length}");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(fault(&longer).contains("the tensors end at byte"));
}

#[test]
fn a_safetensors_that_lies_is_refused_with_the_tensors_name() {
    for (header, data, says) in [
        (
            r#"{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#,
            4,
            "tensor x claims bytes 0 to 8",
        ),
        (
            r#"{"x":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}"#,
            8,
            "tensor x of shape [3]",
        ),
        (
            r#"{"x":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#,
            8,
            "tensor x claims bytes 4 to 8",
        ),
        (
            r#"{"x":{"dtype":"F32","shape":[9223372036854775807,8],"data_offsets":[0,8]}}"#,
            8,
            "tensor x of shape",
        ),
        (
            r#"{"x":{"dtype":"F8","shape":[8],"data_offsets":[0,8]}}"#,
            8,
            r#"the unknown type "F8""#,
        ),
        ("[]", 0, "its header is not the JSON expected"),
    ] {
        let found = fault(&safetensors(header, &vec![0; data]));
        assert!(found.contains(says), "{found}");
    }
    assert!(
        fault(&[255; 16]).contains("are announced") || fault(&[255; 16]).contains("is announced")
    );
}

/// What `tests/data/generate.py` put into each `.pth`.
fn generated() -> Weights {
    let tensors = [
        (
            "float",
            Tensor::new([2, 3], (0..6).map(|i| i as f32 / 4.0).collect()),
        ),
        (
            "transposed",
            Tensor::new([3, 2], vec![0.0, 0.75, 0.25, 1.0, 0.5, 1.25]),
        ),
        ("slice", Tensor::new([2], vec![0.5, 1.25])),
        ("half", Tensor::new([2], vec![0.5, -65504.0])),
        (
            "bfloat",
            Tensor::new([2], vec![-1.5, 3.0e38f32.to_bits_of_bfloat()]),
        ),
        ("double", Tensor::new([1], vec![0.1])),
        ("scalar", Tensor::new([], vec![42.0])),
    ];
    Weights {
        tensors: tensors
            .map(|(name, tensor)| (name.to_owned(), tensor))
            .into(),
    }
}

trait ToBfloat {
    fn to_bits_of_bfloat(self) -> f32;
}

impl ToBfloat for f32 {
    /// Rounded to the nearest bfloat16.
    fn to_bits_of_bfloat(self) -> f32 {
        f32::from_bits((self.to_bits() + 0x8000) & 0xffff_0000)
    }
}

#[test]
fn pytorch_files_of_both_formats_bare_and_wrapped_hold_the_same_tensors() {
    for name in ["new", "old", "wrapped", "parallel"] {
        let path = format!("{DATA}/{name}.pth");
        assert_eq!(Weights::read(path.as_ref()).unwrap(), generated(), "{name}");
    }
}

#[test]
fn a_cut_or_altered_pytorch_file_never_panics_and_a_cut_one_is_refused() {
    for name in ["new", "old"] {
        let bytes = std::fs::read(format!("{DATA}/{name}.pth")).unwrap();
        for length in 0..bytes.len() {
            assert!(
                Weights::from_bytes(&bytes[..length]).is_err(),
                "{name} {length}"
            );
        }
        for place in 0..bytes.len() {
            for flip in [1, 0x80, 0xff] {
                let mut altered = bytes.clone();
                altered[place] ^= flip;
                // Either way is right; a panic or a runaway allocation is not.
                let _ = Weights::from_bytes(&altered);
            }
        }
    }
}

#[test]
fn a_pickle_that_calls_anything_else_is_refused_by_name() {
    let path = format!("{DATA}/evil.pth");
    let found = Weights::read(path.as_ref()).unwrap_err().to_string();
    assert!(found.contains("it names posix.system"), "{found}");
}
