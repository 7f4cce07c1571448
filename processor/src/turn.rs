//! The eight positions in which one picture can lie.

/// How a picture was laid: transposed first, or not, then mirrored, or not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Turn {
    /// Rows became columns.
    pub(crate) transposed: bool,
    /// Left became right.
    pub(crate) mirrored_x: bool,
    /// Top became bottom.
    pub(crate) mirrored_y: bool,
}

impl Turn {
    /// All but the upright one, in the order in which their hashes travel.
    pub(crate) const OTHERS: [Self; 7] = [
        Self::new(false, true, false),
        Self::new(false, false, true),
        Self::new(false, true, true),
        Self::new(true, false, false),
        Self::new(true, true, false),
        Self::new(true, false, true),
        Self::new(true, true, true),
    ];

    const fn new(transposed: bool, mirrored_x: bool, mirrored_y: bool) -> Self {
        Self {
            transposed,
            mirrored_x,
            mirrored_y,
        }
    }

    /// For a person: how this picture must be laid to look like the other; nothing if it
    /// lies as that one does.
    pub(crate) fn words(self) -> Option<&'static str> {
        match (self.transposed, self.mirrored_x, self.mirrored_y) {
            (false, false, false) => None,
            (false, true, false) => Some("mirrored"),
            (false, false, true) => Some("mirrored and turned by 180 degrees"),
            (false, true, true) => Some("turned by 180 degrees"),
            (true, false, false) | (true, true, true) => Some("mirrored and turned by 90 degrees"),
            (true, true, false) | (true, false, true) => Some("turned by 90 degrees"),
        }
    }
}
