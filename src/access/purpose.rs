//! Purposes: whether a grant is good for using key material, for a change, or for
//! a look. The type of a grant names one, so that a door cannot be handed a grant
//! of another.

use std::fmt::Debug;

/// The purpose of a grant.
pub trait Purpose: sealed::Sealed + Copy + Debug + Send + Sync + 'static {
    /// Its name.
    const NAME: &'static str;
    /// Whether it is to use key material.
    const IS_USE: bool = false;
}

/// Key material is used.
#[derive(Clone, Copy, Debug)]
pub enum Use {}

/// The store is changed.
#[derive(Clone, Copy, Debug)]
pub enum Change {}

/// Metadata is read.
#[derive(Clone, Copy, Debug)]
pub enum Look {}

impl Purpose for Use {
    const NAME: &'static str = "Use";
    const IS_USE: bool = true;
}

impl Purpose for Change {
    const NAME: &'static str = "Change";
}

impl Purpose for Look {
    const NAME: &'static str = "Look";
}

mod sealed {
    pub trait Sealed {}

    impl Sealed for super::Use {}
    impl Sealed for super::Change {}
    impl Sealed for super::Look {}
}
