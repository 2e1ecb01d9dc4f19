//! ExportDataKeys: a stream of items that fail by themselves, and peers that
//! vanish, fall silent or never read.

mod connections;
mod ends;
mod items;
mod peers;
mod talk;
