//! What a service function answers is opened by the end of its trail alone, which gives it
//! once the line is on the disk.
use keyferry::audit::trail::Reply;
use keyferry::proto::v1::ExportDataKeyResponse;

fn answer(reply: Reply<ExportDataKeyResponse>) -> ExportDataKeyResponse {
    let Reply(response) = reply;
    response
}

fn main() {}
