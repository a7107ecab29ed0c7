//! A second reader of metas, to compare the codec with. It reads all fields into vectors first, and looks at what they mean
//! afterwards.

use hedge_wire::baidu_std::{Frame, Packet};

/// The number of a field, its type, and its number or bytes.
struct Field(u64, u64, u64, Vec<u8>);

/// What a frame's packet says, as one text. `None` if the frame is to be refused.
pub fn expected(frame: &Frame<'_>) -> Option<String> {
    let meta = fields(frame.meta)?;
    let part = |number| {
        let mut parts = meta.iter().filter(|field| (field.0, field.1) == (number, 2));
        let first = parts.next().map(|field| fields(&field.3));
        if parts.next().is_some() { Some(None) } else { first }
    };
    // A part is absent, or is whole.
    let [request, response, chunk, settings] =
        [1, 2, 6, 8].map(|number| part(number).map_or(Some(None), |it| it.map(Some)));
    let (request, response, chunk, settings) = (request?, response?, chunk?, settings?);
    let request = match request {
        None => None,
        Some(it) => {
            for text in it.iter().filter(|field| field.1 == 2 && [1, 2, 7].contains(&field.0)) {
                std::str::from_utf8(&text.3).ok()?;
            }
            let names = [1, 2].map(|number| bytes(&it, number).filter(|name| !name.is_empty()));
            let [Some(service), Some(method)] = names else { return None };
            Some((service, method, [3, 4, 5, 6].map(|id| number(&it, id)), bytes(&it, 7), short(&it, 8)))
        }
    };
    let response = response.map(|it| (short(&it, 1), bytes(&it, 2)));
    let chunk = chunk.map(|it| Some((number(&it, 1)?, number(&it, 2)?)));
    let settings = settings.map(|it| Some((number(&it, 1)?, flag(&it, 2), flag(&it, 3), numbers(&it, 4)?)));
    if chunk == Some(None) || settings == Some(None) {
        return None;
    }
    let user: Option<Vec<_>> = meta
        .iter()
        .filter(|field| (field.0, field.1) == (9, 2))
        .map(|field| fields(&field.3).map(|it| [1, 2].map(|number| bytes(&it, number).unwrap_or_default())))
        .collect();
    let size = usize::try_from(short(&meta, 5).unwrap_or(0)).unwrap_or(0);
    let (message, attachment) = frame.rest.split_at(frame.rest.len().checked_sub(size)?);
    let checksum = (short(&meta, 11), bytes(&meta, 12), flag(&meta, 13));
    let numbers = (short(&meta, 3), number(&meta, 4), short(&meta, 10));
    let all = (request, response, numbers, chunk, bytes(&meta, 7), settings, user?, checksum, message, attachment);
    Some(format!("{all:?}"))
}

/// What the codec has read, in the same form.
pub fn got(packet: &Packet<'_>) -> String {
    let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
    let request = packet.request.map(|it| {
        let ids = [it.log_id, it.trace_id, it.span_id, it.parent_span_id];
        (it.service.as_bytes(), it.method.as_bytes(), ids, it.request_id.map(str::as_bytes), it.timeout_ms)
    });
    let response = packet.response.map(|it| (it.error_code, it.error_text));
    let chunk = packet.chunk_info.map(|it| Some((it.stream_id, it.chunk_id)));
    let settings = packet
        .stream_settings
        .map(|it| Some((it.stream_id, it.need_feedback, it.writable, it.extra_stream_ids.iter().collect::<Vec<_>>())));
    let user: Vec<_> = packet.user_fields.iter().map(|(name, value)| [name, value]).collect();
    let checksum = (packet.checksum.kind, packet.checksum.value, packet.checksum.with_attachment);
    let numbers = (packet.compress_type, packet.correlation_id, packet.content_type);
    let credential = owned(packet.authentication_data);
    let all =
        (request, response, numbers, chunk, credential, settings, user, checksum, packet.message, packet.attachment);
    format!("{all:?}")
}

fn fields(mut bytes: &[u8]) -> Option<Vec<Field>> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        let (number, kind) = (tag / 8, tag % 8);
        if number == 0 || number >= 1 << 29 {
            return None;
        }
        let (value, length) = match kind {
            0 => (varint(&mut bytes)?, 0),
            1 => (0, 8),
            2 => (0, usize::try_from(varint(&mut bytes)?).ok()?),
            5 => (0, 4),
            _ => return None,
        };
        let (inner, rest) = bytes.split_at_checked(length)?;
        bytes = rest;
        all.push(Field(number, kind, value, inner.to_vec()));
    }
    Some(all)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u128;
    for place in 0..10 {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value += u128::from(byte % 128) << (7 * place);
        if *byte < 128 {
            return u64::try_from(value).ok();
        }
    }
    None
}

fn last(fields: &[Field], number: u64, kind: u64) -> Option<&Field> {
    fields.iter().rev().find(|field| (field.0, field.1) == (number, kind))
}

fn number(fields: &[Field], number: u64) -> Option<i64> {
    last(fields, number, 0).map(|field| i64::from_le_bytes(field.2.to_le_bytes()))
}

fn short(fields: &[Field], number: u64) -> Option<i32> {
    last(fields, number, 0).map(|field| i32::from_le_bytes(field.2.to_le_bytes()[..4].try_into().unwrap()))
}

fn flag(fields: &[Field], number: u64) -> Option<bool> {
    last(fields, number, 0).map(|field| field.2 > 0)
}

fn bytes(fields: &[Field], number: u64) -> Option<Vec<u8>> {
    last(fields, number, 2).map(|field| field.3.clone())
}

/// The numbers of a field, packed or not.
fn numbers(fields: &[Field], number: u64) -> Option<Vec<i64>> {
    let mut all = Vec::new();
    for field in fields.iter().filter(|field| field.0 == number) {
        if field.1 == 0 {
            all.push(field.2);
        }
        let mut packed = &field.3[..];
        while field.1 == 2 && !packed.is_empty() {
            all.push(varint(&mut packed)?);
        }
    }
    Some(all.into_iter().map(|id| i64::from_le_bytes(id.to_le_bytes())).collect())
}
