//! Queries as the integers of a scan, for one elsewhere: on a GPU.

use super::query::{QueryFor, RotatedQueries};
use crate::codec::{Group, TurboQuant};
use crate::error::{Error, Result};
use crate::parallel::Exec;

/// Queries as integers (docs/numerics.md section 10), of a codec without a fit.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryIntegers {
    /// `dim` a query, segment after segment: at most 127 in magnitude, 16,319 where they take two bytes.
    pub values: Vec<i16>,
    /// What one unit of the integer product is worth, one a segment and query.
    pub factors: Vec<f32>,
    /// Norms without their powers of two.
    pub norms: Vec<f32>,
    /// The powers of two.
    pub exponents: Vec<i32>,
}

impl TurboQuant {
    /// Queries as the integers that whole codes are multiplied with, for inner products or, with `cosine`, cosines.
    ///
    /// # Errors
    /// As for [`score`](Self::score), norms of cosines aside; [`Error::Argument`] for a fitted codec, whose scores also take its center.
    pub fn query_integers(&self, queries: &[f32], cosine: bool) -> Result<QueryIntegers> {
        if self.transform.is_some() {
            return Err(Error::argument("codec", "without a fit", "a fitted one"));
        }
        self.rows_of("queries", queries)?;
        let to = if cosine { QueryFor::Cosines } else { QueryFor::Scores };
        let level = Exec::default().settled()?.level()?;
        let rotated =
            Error::of_first_row(queries, self.dim(), |queries| RotatedQueries::new(self, queries, to, level))?;
        let groups = self.groups(&self.spec().full());
        let levels = groups.iter().map(Group::levels);
        let groups: Vec<_> = groups.iter().zip(levels).collect();
        let (mut values, mut factors) = (Vec::with_capacity(queries.len()), Vec::new());
        let (mut whole, mut integers) = (Vec::new(), Vec::new());
        for row in 0..rotated.norms.len() {
            for (group, levels) in &groups {
                integers.resize(group.dim, 0);
                factors.push(rotated.integers(level, (group, levels), row, &mut whole, &mut integers));
                values.extend(integers.iter().map(|&value| value as i16));
            }
        }
        Ok(QueryIntegers { values, factors, norms: rotated.norms, exponents: rotated.exponents })
    }
}

#[cfg(test)]
mod tests {
    use crate::{Error, Options, TurboQuant};

    #[test]
    fn segments_have_their_own_reach() {
        let codec = TurboQuant::split(9, [6, 2], &[1, 4, 5], Options::default()).unwrap();
        let queries: Vec<f32> = (0_i16..27).map(|i| f32::from(i * 7 % 13) - 6.0).collect();
        let found = codec.query_integers(&queries, false).unwrap();
        assert_eq!((found.factors.len(), found.norms.len(), found.exponents.len()), (6, 3, 3));
        let largest = |values: &[i16]| values.iter().map(|value| value.abs()).max();
        for query in found.values.chunks(9) {
            assert_eq!((largest(&query[..3]), largest(&query[3..])), (Some(16_319), Some(127)));
        }
        let large: Vec<f32> = queries.iter().map(|value| value * 2.0_f32.powi(100)).collect();
        assert!(matches!(codec.query_integers(&large, false), Err(Error::Norm { row: 0, .. })));
        assert_eq!(codec.query_integers(&large, true).unwrap().values, found.values);
        assert!(matches!(codec.query_integers(&[f32::NAN; 9], true), Err(Error::NonFinite { row: 0, column: 0, .. })));
        assert!(matches!(codec.query_integers(&queries[1..], true), Err(Error::Argument { argument: "queries", .. })));
    }
}
