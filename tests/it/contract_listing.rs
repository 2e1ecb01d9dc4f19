//! `proto/api.txt` lists every name and number that callers depend on. A change
//! to the contract is a change to it, seen in review.

use std::fmt::Write as _;
use std::path::Path;

use keyferry::gateway::actions::TABLE;
use keyferry::proto::CONTRACT;
use prost_reflect::prost_types::method_options::IdempotencyLevel;
use prost_reflect::{
    DescriptorPool, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor,
    ServiceDescriptor,
};

const COMMITTED: &str = include_str!("../../proto/api.txt");

/// The listing as the compiled-in contract has it, in order of full names, so
/// that moving text within the proto files is no change.
fn listing() -> String {
    let pool = DescriptorPool::decode(CONTRACT).unwrap();
    let mut parts: Vec<String> = pool.services().map(|service| service_lines(&service)).collect();
    let messages = pool.all_messages().filter(|message| !message.is_map_entry());
    parts.extend(messages.map(|message| message_lines(&message)));
    parts.extend(pool.all_enums().map(|named| enum_lines(&named)));
    parts.sort();
    parts.join("\n")
}

fn service_lines(service: &ServiceDescriptor) -> String {
    let mut lines: Vec<String> = service.methods().map(|method| method_line(&method)).collect();
    lines.sort();
    format!("service {}\n{}", service.full_name(), lines.concat())
}

fn method_line(method: &MethodDescriptor) -> String {
    let [asks, answers] = [method.is_client_streaming(), method.is_server_streaming()]
        .map(|streams| if streams { "stream " } else { "" });
    let [input, output] =
        [method.input(), method.output()].map(|message| message.name().to_owned());
    let options = method.method_descriptor_proto().options.clone().unwrap_or_default();
    let level = match options.idempotency_level() {
        IdempotencyLevel::IdempotencyUnknown => "",
        IdempotencyLevel::NoSideEffects => " NO_SIDE_EFFECTS",
        IdempotencyLevel::Idempotent => " IDEMPOTENT",
    };
    format!("rpc {}({asks}{input}) {answers}{output}{level}\n", method.full_name())
}

fn message_lines(message: &MessageDescriptor) -> String {
    let mut lines = format!("message {}\n", message.full_name());
    for field in message.fields() {
        let (name, number) = (field.full_name(), field.number());
        writeln!(lines, "field {name} = {number} {}", field_type(&field)).unwrap();
    }
    lines
}

fn field_type(field: &FieldDescriptor) -> String {
    if let (true, Kind::Message(entry)) = (field.is_map(), field.kind()) {
        let [key, value] = [entry.map_entry_key_field(), entry.map_entry_value_field()]
            .map(|part| kind_name(&part.kind()));
        return format!("map<{key}, {value}>");
    }
    let oneof =
        field.containing_oneof().filter(|_| !field.field_descriptor_proto().proto3_optional());
    let label = match oneof {
        Some(oneof) => format!("oneof {} ", oneof.name()),
        None if field.is_list() => "repeated ".to_owned(),
        None if field.field_descriptor_proto().proto3_optional() => "optional ".to_owned(),
        None => String::new(),
    };
    format!("{label}{}", kind_name(&field.kind()))
}

fn kind_name(kind: &Kind) -> String {
    match kind {
        Kind::Message(message) => message.full_name().to_owned(),
        Kind::Enum(named) => named.full_name().to_owned(),
        scalar => format!("{scalar:?}"),
    }
}

fn enum_lines(named: &EnumDescriptor) -> String {
    let mut lines = format!("enum {}\n", named.full_name());
    for value in named.values() {
        writeln!(lines, "value {}.{} = {}", named.full_name(), value.name(), value.number())
            .unwrap();
    }
    lines
}

/// The README says exactly which operations of the API are here.
#[test]
fn the_readme_lists_every_action() {
    let readme = include_str!("../../README.md");
    let (_, list) = readme.split_once("The operations that are here: ").unwrap();
    let (list, _) = list.split_once(". ").unwrap();
    let told: Vec<&str> = list.split(',').map(str::trim).collect();
    let ours: Vec<&str> = TABLE.iter().map(|action| action.name).collect();
    assert_eq!(told, ours);
}

#[test]
fn the_contract_is_what_is_listed() {
    let listing = listing();
    if listing == COMMITTED {
        return;
    }
    let fresh = Path::new(env!("CARGO_TARGET_TMPDIR")).join("api.txt");
    std::fs::write(&fresh, &listing).unwrap();
    let added = listing.lines().filter(|line| !COMMITTED.lines().any(|listed| listed == *line));
    let gone = COMMITTED.lines().filter(|listed| !listing.lines().any(|line| line == *listed));
    panic!(
        "the contract is not what proto/api.txt lists.\nadded: {:#?}\ngone: {:#?}\nIf it shall be so: cp {} proto/api.txt",
        added.collect::<Vec<_>>(),
        gone.collect::<Vec<_>>(),
        fresh.display()
    );
}
