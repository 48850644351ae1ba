//! The outlier split (TurboQuant, arXiv 2504.19874, section 4.3): which channels form the first, wider segment.

use crate::error::{Error, Result};

/// Channels in the order of a split codec's segments: the outliers, then the others, each ascending.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Outliers {
    order: Vec<u32>,
    count: usize,
}

impl Outliers {
    /// Some of `dim` channels, in any order.
    ///
    /// # Errors
    /// [`Error::Argument`] if a channel is out of range or given twice, or they are none or all.
    pub(super) fn new(dim: usize, channels: &[usize]) -> Result<Self> {
        let mut mask = vec![false; dim];
        for &channel in channels {
            let expected = match mask.get(channel) {
                None => format!("channels from 0 to {}", dim.saturating_sub(1)),
                Some(true) => "distinct channels".to_owned(),
                Some(false) => {
                    mask[channel] = true;
                    continue;
                }
            };
            let twice = if channel < dim { " twice" } else { "" };
            return Err(Error::argument("outliers", expected, format!("{channel}{twice}")));
        }
        if channels.is_empty() || channels.len() == dim {
            let expected = format!("some of the {dim} channels, neither none nor all");
            return Err(Error::argument("outliers", expected, channels.len()));
        }
        Ok(Self::of(&mask))
    }

    fn of(mask: &[bool]) -> Self {
        let channels = |wanted| (0_u32..).zip(mask).filter(move |(_, outlier)| **outlier == wanted).map(|(i, _)| i);
        Self { order: channels(true).chain(channels(false)).collect(), count: channels(true).count() }
    }

    /// The outliers, ascending.
    #[must_use]
    pub fn channels(&self) -> &[u32] {
        &self.order[..self.count]
    }

    /// All channels in the order of the segments.
    pub(crate) fn order(&self) -> &[u32] {
        &self.order
    }

    /// Bytes of the section for `dim` channels.
    pub(crate) fn section_len(dim: usize) -> usize {
        dim.div_ceil(8)
    }

    /// One bit a channel, low bit first, padded with zeros.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; Self::section_len(self.order.len())];
        self.channels().iter().for_each(|&channel| bytes[channel as usize / 8] |= 1 << (channel % 8));
        bytes
    }

    /// Reads [`to_bytes`](Self::to_bytes)'s bytes.
    ///
    /// # Errors
    /// [`Error::Argument`] for set padding, and as for [`new`](Self::new).
    pub(crate) fn from_bytes(section: &[u8], dim: usize) -> Result<Self> {
        let bit = |i: usize| section[i / 8] >> (i % 8) & 1 == 1;
        if let Some(i) = (dim..8 * section.len()).find(|&i| bit(i)) {
            return Err(Error::argument("outliers", "padded with zeros", format!("a bit at {i}")));
        }
        Self::new(dim, &(0..dim).filter(|&i| bit(i)).collect::<Vec<_>>())
    }

    /// Puts the channels of every row in order.
    pub(crate) fn gather(&self, rows: &[f32], out: &mut Vec<f32>) {
        out.clear();
        for row in rows.chunks_exact(self.order.len()) {
            out.extend(self.order.iter().map(|&channel| row[channel as usize]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_come_out_ascending_and_go_through_bytes() {
        let split = Outliers::new(10, &[9, 0, 4]).unwrap();
        assert_eq!(split.channels(), [0, 4, 9]);
        assert_eq!(split.order(), [0, 4, 9, 1, 2, 3, 5, 6, 7, 8]);
        assert_eq!(split.to_bytes(), [0b0001_0001, 0b10]);
        assert_eq!(Outliers::from_bytes(&split.to_bytes(), 10).unwrap(), split);
        assert!(Outliers::from_bytes(&[1, 0b100], 10).is_err());
        let mut rows = Vec::new();
        split.gather(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0], &mut rows);
        assert_eq!(rows, [0.0, 4.0, 9.0, 1.0, 2.0, 3.0, 5.0, 6.0, 7.0, 8.0]);
    }
}
