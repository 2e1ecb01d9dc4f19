//! The life cycle of CMKs against a model of it: random histories of calls, of
//! years that pass, of clocks that are set wrong, of restarts and of a store
//! that fails. Each step is predicted, each prediction compared.
//!
//! `PROPTEST_CASES` says how many histories; a history that once failed is kept
//! beside this file and tried first.

mod at_rest;
mod calls;
mod model;
mod regressions;
mod steps;
mod together;
mod watch;
mod world;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use steps::Step;
use together::Together;
use world::World;

/// Histories that once failed, from the package's folder.
const REGRESSIONS: &str = "tests/it/life_cycle_model/regressions.txt";

/// Lives through a history.
fn live(history: &[Step]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { World::start().await.live(history).await });
}

/// Lets two keyrings be at work at once, as tasks or as threads.
fn happen(together: Together) {
    let mut runtime = if together.threads {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    let runtime = runtime.worker_threads(4).enable_all().build().unwrap();
    runtime.block_on(together::happen(together));
}

/// `PROPTEST_CASES`, or 256, of which a part is tried.
fn config(part: u32) -> ProptestConfig {
    let config = ProptestConfig::default();
    ProptestConfig {
        cases: (config.cases / part).max(1),
        max_shrink_time: 60_000,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(REGRESSIONS))),
        ..config
    }
}

proptest! {
    #![proptest_config(config(1))]

    #[test]
    fn every_history_goes_as_the_model_says(history in steps::history()) {
        live(&history);
    }
}

proptest! {
    #![proptest_config(config(4))]

    #[test]
    fn two_keyrings_do_each_thing_once_and_lose_nothing(together in together::together()) {
        happen(together);
    }
}
