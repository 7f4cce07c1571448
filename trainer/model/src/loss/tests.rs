use burn_tensor::{Device, Tensor, TensorData};

use super::Weighing;

#[test]
fn the_tape_and_the_host_agree_and_the_top_logit_is_correct() {
    let logits = [
        2.0_f32, -1.0, 0.5, 0.1, 0.2, 0.3, 90.0, -90.0, 0.0, 1.0, 1.0, 0.0,
    ];
    let labels = [0_u32, 1, 1, 0];
    let weights = [0.5_f32, 2.0, 1.5];
    let weighing = Weighing {
        class_weights: Some(&weights),
        smoothing: 0.2,
        num_classes: 3,
    };
    let total = weighing.total(&labels);
    assert!((total - 5.0).abs() < 1e-12);
    let targets = weighing.targets(&labels, total);
    let device = Device::flex();
    let data = TensorData::new(logits.to_vec(), [4, 3]);
    let taped = targets.loss(Tensor::from_data(data, &device), &device);
    let taped = f64::from(taped.try_into_vec_as::<f32>().unwrap()[0]);
    let (host, correct) = targets.judge(&logits, &labels);
    assert!((host - taped).abs() < 1e-5 * host, "{host} {taped}");
    // The first, and the last, whose tie goes to the lower class.
    assert_eq!(correct, 2);
}

#[test]
fn without_weights_and_smoothing_it_is_the_mean_of_minus_the_logarithm() {
    let weighing = Weighing {
        class_weights: None,
        smoothing: 0.0,
        num_classes: 2,
    };
    let targets = weighing.targets(&[0, 1], weighing.total(&[0, 1]));
    let (loss, correct) = targets.judge(&[0.0, 0.0, 0.0, (3.0_f32).ln()], &[0, 1]);
    let expected = (2.0_f64.ln() + (4.0_f64 / 3.0).ln()) / 2.0;
    assert!((loss - expected).abs() < 1e-6, "{loss} {expected}");
    assert_eq!(correct, 2);
}
