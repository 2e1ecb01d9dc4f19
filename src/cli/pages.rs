//! Lists, page after page: each is told as it comes, so that a list of any
//! length needs the memory of one page.

use clap::Args;

use super::exit::Exit;
use super::failure::{Failure, Stop};

/// How a list is asked for.
#[derive(Args, Clone, Debug)]
pub struct PageArgs {
    /// How many to ask the server for at a time; all pages are followed, and
    /// with --json each is a line of its own
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100))]
    page_size: u32,
}

impl PageArgs {
    /// Members of a page.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.page_size
    }
}

/// A page to ask for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Empty for the first.
    pub token: String,
    /// Whether it is the first.
    pub first: bool,
}

/// Asks for page after page; `page` answers the next page's token.
pub async fn follow(page: impl AsyncFn(Wanted) -> Result<String, Stop>) -> Result<(), Stop> {
    let mut token = String::new();
    loop {
        let wanted = Wanted { token: token.clone(), first: token.is_empty() };
        let next = page(wanted).await?;
        if next.is_empty() {
            return Ok(());
        }
        // A token that comes back would have us ask for ever.
        if next == token {
            return Err(Failure::new(
                Exit::Refused,
                "The server gives the same page again and again.",
                "Report this; the list so far is not complete.",
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

    fn run<F: AsyncFn(Wanted) -> Result<String, Stop>>(page: F) -> Result<(), Stop> {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(follow(page))
    }

    #[test]
    fn every_page_is_asked_for_once() {
        let asked = RefCell::new(Vec::new());
        run(async |wanted| {
            let next = ["a", "b", ""][asked.borrow().len()];
            asked.borrow_mut().push((wanted.token, wanted.first));
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
