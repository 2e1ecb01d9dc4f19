//! There is no question, and hence no grant, without a place where decisions are recorded.
use keyferry::access::decisions::DESCRIBE_KEY;
use keyferry::access::principal::Principal;
use keyferry::access::question::{Question, RequestFacts, Subject};

fn main() {
    let _ = Question {
        principal: &Principal::dev(),
        decisions: DESCRIBE_KEY,
        subject: Subject::Instance,
        facts: RequestFacts::default(),
        other: None,
    };
}
