//! ExportDataKeys: a stream of items that fail by themselves, and peers that
//! vanish, fall silent or never read.

mod ends;
mod items;
mod lines;
mod peers;
mod talk;
