//! Programs outside of the crate that must not compile.
#![allow(missing_docs, reason = "tests")]

#[test]
fn secrets_are_kept_by_their_types() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
