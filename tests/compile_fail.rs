//! What must not compile outside the crate.
#![allow(missing_docs, reason = "tests")]

#[test]
fn secrets_are_kept_by_their_types() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
