//! A borrowed value that is copied when it is first changed: [`Changed`].

/// A value that is borrowed until it is changed. This is not a `Cow`, since a `Cow` needs a type that can be cloned,
/// even if the value is never changed.
pub(super) struct Changed<'a, T> {
    lent: &'a T,
    /// The changed copy. It is boxed, so that a value that is never changed needs little memory here.
    own: Option<Box<T>>,
}

impl<'a, T> Changed<'a, T> {
    pub(super) const fn new(lent: &'a T) -> Self {
        Self { lent, own: None }
    }

    pub(super) fn get(&self) -> &T {
        self.own.as_deref().unwrap_or(self.lent)
    }

    /// Returns the copy. Returns `None` if nothing was changed.
    pub(super) fn own(&mut self) -> Option<&mut T> {
        self.own.as_deref_mut()
    }
}

impl<T: Clone> Changed<'_, T> {
    /// Returns the copy, which is made at the first change.
    pub(super) fn get_mut(&mut self) -> &mut T {
        self.own.get_or_insert_with(|| Box::new(self.lent.clone()))
    }
}
