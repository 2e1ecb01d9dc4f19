//! Lists, page after page: each is printed as it comes, so that a list of any
//! length needs the memory of one page.

use clap::Args;
use prost::Name;
use tonic::{Response, Status};

use super::call::CallArgs;
use super::session::Session;
use crate::cli::exit::Exit;
use crate::cli::failure::{EarlyExit, Failure};
use crate::cli::io::text::Text;
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

/// A list as a table.
pub struct ListTable<'a> {
    /// How the server is called.
    pub call: &'a CallArgs,
    /// The heading.
    pub heading: &'a [&'static str],
    /// A hint for people if the list is empty.
    pub none: &'a str,
}

impl ListTable<'_> {
    /// Prints the list. `fetch` asks for the page of a token; `rows` gives a page's
    /// rows, and the next page's token.
    #[expect(clippy::needless_pass_by_value, reason = "closures are written where they are given")]
    pub fn print<M: Name>(
        &self,
        fetch: impl AsyncFn(&Session, String) -> Result<Response<M>, Status>,
        rows: impl Fn(&M) -> (Vec<Vec<String>>, String),
    ) -> Result<(), EarlyExit> {
        let output = self.call.output();
        self.call.talk(async |session| {
            let followed = follow(async |token: String| {
                let is_first = token.is_empty();
                let page = session.response(fetch(&session, token).await)?;
                let (rows, next) = rows(&page);
                if is_first && rows.is_empty() {
                    output.hint(&Text::line(self.none));
                }
                let heading = (is_first && !rows.is_empty()).then(|| self.heading.to_vec());
                output.response(&page, || Text::Table { heading, rows })?;
                Ok(next)
            });
            followed.await
        })
    }
}

/// Asks for page after page. `page` asks for one, and gives the next one's token; the
/// first token is empty.
async fn follow(page: impl AsyncFn(String) -> Result<String, EarlyExit>) -> Result<(), EarlyExit> {
    let mut token = String::new();
    loop {
        let next = page(token.clone()).await?;
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

    fn run<F: AsyncFn(String) -> Result<String, EarlyExit>>(page: F) -> Result<(), EarlyExit> {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(follow(page))
    }

    #[test]
    fn every_page_is_asked_for_once() {
        let asked = RefCell::new(Vec::new());
        run(async |token| {
            let next = ["a", "b", ""][asked.borrow().len()];
            asked.borrow_mut().push(token);
            Ok(next.to_owned())
        })
        .unwrap();
        assert_eq!(*asked.borrow(), ["", "a", "b"]);
    }

    #[test]
    fn a_server_that_repeats_itself_is_not_followed() {
        assert!(run(async |_| Ok("a".to_owned())).is_err());
    }
}
