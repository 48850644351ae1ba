//! What must hold for any bytes: an error or something whole, no panic. `tests/fuzz.rs` calls these; so may a fuzzer, with `--cfg fuzzing`.

use turboquant_rs::{Codes, Error, Header, Index, SearchOptions, TurboQuant, papers::PaperCodes};

/// Larger codecs take a fuzzer's time and show nothing new.
const MOST_DIMS: usize = 256;

/// Whether the codec that a header describes is small enough to be made; `None` if it is none.
fn small(bytes: &[u8]) -> Option<Header> {
    Header::parse(bytes).ok().filter(|header| header.spec.dim() <= MOST_DIMS)
}

/// An index file: what is read can be searched, decoded, written and read again.
pub(crate) fn index_file(bytes: &[u8]) {
    // The codec starts at byte 1,536.
    if bytes.len() > 1_536 && small(&bytes[1_536..]).is_none() {
        assert!(Header::parse(&bytes[1_536..]).is_ok() || Index::from_bytes(bytes).is_err());
        return;
    }
    let Ok(mut index) = Index::from_bytes(bytes) else { return };
    let dim = index.codec().dim();
    let queries: Vec<f32> = (0..2 * dim).map(|i| (i as f32 * 0.7).sin()).collect();
    for (nq, k) in [(1, 3), (2, index.len() + 1)] {
        let found = index.search(&queries[..nq * dim], k).expect("what was read can be searched");
        assert!(found.ids.iter().all(|&id| id >= -1));
    }
    if index.keep().is_some() {
        let options = SearchOptions { rescore: 2, ..SearchOptions::new(3) };
        match index.search_with(&queries, options) {
            Ok(found) => assert!(found.scores.iter().all(|score| !score.is_nan())),
            // An id that no writer gives twice may be that of a removed row.
            Err(error) => assert!(matches!(error, Error::UnknownId { .. }), "{error}"),
        }
    }
    // Ids of no writer may stand twice; each then means one of its rows.
    let ids: Vec<_> = index.ids().unwrap().iter().copied().take(4).collect();
    for &id in &ids {
        let name = index.name(id).expect("what was read can be asked for").map(str::to_owned);
        assert!(name.is_none_or(|name| index.id_of_name(&name).is_ok_and(|id| id.is_some())));
    }
    assert_eq!(index.reconstruct(&ids).expect("ids are in the index").len(), ids.len() * dim);
    let again = index.to_bytes().expect("what was read can be written");
    assert_eq!(Index::from_bytes(&again).expect("and read again").len(), index.len());
    if let [first, ..] = ids[..] {
        index.remove(&[first]).expect("what is there can be removed");
        let again = index.to_bytes().expect("and the rest be written");
        assert_eq!(Index::from_bytes(&again).expect("and read").len(), index.len());
    }
}

/// The header of code bytes, and the codec in it.
pub(crate) fn codec_header(bytes: &[u8]) {
    let Some(header) = small(bytes) else { return };
    assert_eq!(Header::parse(&header.to_bytes()).as_ref(), Ok(&header), "a header that was read can be written");
    let codec = TurboQuant::from_spec(header.spec).expect("a description that was read is a codec");
    let x: Vec<f32> = (0..codec.dim()).map(|i| (i as f32 * 0.3).cos()).collect();
    let codes = codec.encode(&x).expect("a small row can be encoded");
    assert_eq!(codec.decode(&codes).expect("and decoded").len(), x.len());
}

/// Codes of either kind.
pub(crate) fn codes(bytes: &[u8]) {
    if let Ok(codes) = PaperCodes::from_bytes(bytes) {
        assert_eq!(PaperCodes::from_bytes(&codes.to_bytes()), Ok(codes));
    }
    if small(bytes).is_none() {
        return;
    }
    let Ok(codes) = Codes::from_bytes(bytes) else { return };
    assert_eq!(Codes::from_bytes(&codes.to_bytes()).as_ref(), Ok(&codes));
    let codec = TurboQuant::from_spec(codes.spec().clone()).expect("codes that were read have a codec");
    assert_eq!(codec.decode(&codes).expect("and can be decoded").len(), codes.len() * codec.dim());
    let query = vec![0.5; codec.dim()];
    assert_eq!(codec.score(&query, &codes).expect("and scored").len(), codes.len());
}
