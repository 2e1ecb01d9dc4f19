//! `keyferry policy schema`: what policies may speak of.

use clap::Args;
use serde_json::json;

use crate::access::cedar::schema;
use crate::cli::failure::EarlyExit;
use crate::cli::io::output::OutputArgs;
use crate::cli::io::text::Text;

#[derive(Args, Debug)]
pub struct PolicySchema {
    #[command(flatten)]
    output: OutputArgs,
}

impl PolicySchema {
    pub fn run(&self) -> Result<(), EarlyExit> {
        let value = json!({ "schema": schema::text(), "decisions": schema::decisions() });
        self.output.output().result(&value, || Text::Verbatim(schema::file()))
    }
}
