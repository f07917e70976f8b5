#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| crossmount::fuzzed::run("tokens", input));
