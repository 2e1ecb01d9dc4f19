#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| keyferry_fuzz::forwarded_cert(data));
