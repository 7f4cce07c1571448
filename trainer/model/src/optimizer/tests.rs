use super::Optimizer;

#[test]
fn senseless_optimisers_are_refused() {
    for optimizer in [
        Optimizer::Sgd {
            momentum: 1.0,
            nesterov: false,
        },
        Optimizer::Sgd {
            momentum: f64::NAN,
            nesterov: false,
        },
        Optimizer::AdamW {
            beta1: 0.9,
            beta2: 1.0,
            epsilon: 1e-8,
        },
        Optimizer::AdamW {
            beta1: -0.1,
            beta2: 0.9,
            epsilon: 1e-8,
        },
        Optimizer::AdamW {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 0.0,
        },
        Optimizer::RmsProp {
            alpha: 0.9,
            momentum: 2.0,
            epsilon: 1e-8,
        },
        Optimizer::RmsProp {
            alpha: 0.9,
            momentum: 0.0,
            epsilon: f64::INFINITY,
        },
    ] {
        assert!(optimizer.check().is_err(), "{optimizer:?}");
    }
    assert!(Optimizer::default().check().is_ok());
}

#[test]
fn they_are_written_with_their_kind() {
    let text = r#"{"kind":"rmsprop","alpha":0.99,"momentum":0.0,"epsilon":1e-8}"#;
    let optimizer: Optimizer = serde_json::from_str(text).unwrap();
    assert_eq!(
        optimizer,
        Optimizer::RmsProp {
            alpha: 0.99,
            momentum: 0.0,
            epsilon: 1e-8
        }
    );
    assert_eq!(serde_json::to_string(&optimizer).unwrap(), text);
    let unknown = r#"{"kind":"sgd","momentum":0.9,"nesterov":false,"rate":1}"#;
    assert!(serde_json::from_str::<Optimizer>(unknown).is_err());
}
