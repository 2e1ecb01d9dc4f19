//! Lists, page after page: each is printed as it comes, so that a list of any
//! length needs the memory of one page.

use clap::Args;

use crate::cli::exit::Exit;
use crate::cli::failure::{EarlyExit, Failure};
use crate::limits::PAGE_ENTRIES;

/// How a list is asked for.
#[derive(Args, Clone, Debug)]
pub struct PageArgs {
    /// How many to ask the server for at a time; all pages are followed, and
    /// with --json each is a line of its own
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(PAGE_ENTRIES.range()))]
    page_size: u32,
}

impl PageArgs {
    /// Members of a page.
    pub fn size(&self) -> u32 {
        self.page_size
    }
}

/// The page to ask for next.
#[derive(Clone, Debug)]
pub struct NextPage {
    /// Empty for the first.
    pub token: String,
    /// Whether it is the first.
    pub first: bool,
}

/// Asks for page after page. `page` asks for one, and gives the next one's token.
pub async fn follow(
    page: impl AsyncFn(NextPage) -> Result<String, EarlyExit>,
) -> Result<(), EarlyExit> {
    let mut token = String::new();
    loop {
        let next = page(NextPage { token: token.clone(), first: token.is_empty() }).await?;
        if next.is_empty() {
            return Ok(());
        }
        // The loop would never end.
        if next == token {
            return Err(Failure::new(
                Exit::Refused,
                "The server gave the same page twice.",
                "Report this. The list is not complete.",
            )
            .into());
        }
        token = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    fn run<F: AsyncFn(NextPage) -> Result<String, EarlyExit>>(page: F) -> Result<(), EarlyExit> {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(follow(page))
    }

    #[test]
    fn every_page_is_asked_for_once() {
        let asked = RefCell::new(Vec::new());
        run(async |request| {
            let next = ["a", "b", ""][asked.borrow().len()];
            asked.borrow_mut().push((request.token, request.first));
            Ok(next.to_owned())
        })
        .unwrap();
        let expected = [("", true), ("a", false), ("b", false)];
        assert_eq!(*asked.borrow(), expected.map(|(token, first)| (token.to_owned(), first)));
    }

    #[test]
    fn a_server_that_repeats_itself_is_not_followed() {
        assert!(run(async |_| Ok("a".to_owned())).is_err());
    }
}
