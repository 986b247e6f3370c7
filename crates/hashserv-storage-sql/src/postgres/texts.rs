//! Many texts in one allocation.

/// Texts of one caller, to be looked for.
///
/// A text that holds U+0000, which PostgreSQL cannot store, becomes NULL, which equals nothing.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    all: String,
    /// Where each text ends, and whether it is one that can be stored.
    ends: Vec<(usize, bool)>,
}

impl Texts {
    pub(crate) fn push(&mut self, text: &str) {
        let storable = is_storable(text);
        if storable {
            self.all.push_str(text);
        }
        self.ends.push((self.all.len(), storable));
    }

    pub(crate) fn count(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Option<&str>> {
        let mut start = 0;
        self.ends.iter().map(move |(end, storable)| {
            let text = &self.all[start..*end];
            start = *end;
            storable.then_some(text)
        })
    }
}

/// Whether PostgreSQL can hold the text.
pub(crate) fn is_storable(text: &str) -> bool {
    !text.as_bytes().contains(&0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back_in_order() {
        let mut texts = Texts::default();
        for text in ["a", "", "x\0y", "é"] {
            texts.push(text);
        }
        assert_eq!(texts.count(), 4);
        assert_eq!(texts.iter().collect::<Vec<_>>(), [Some("a"), Some(""), None, Some("é")]);
    }
}
