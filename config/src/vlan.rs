//! Sets of VLANs as configuration has them: `[1155, "1156-1158"]`.

use std::fmt;

use serde::ser::SerializeSeq as _;
use serde::{Serialize, Serializer};

use crate::raw::{Raw, quote};

/// Lowest VLAN identifier; 0 marks a frame that has only a priority (IEEE 802.1Q-2018 table 9-2).
pub const VID_MIN: u16 = 1;
/// Highest VLAN identifier; 4095 is reserved (IEEE 802.1Q-2018 table 9-2).
pub const VID_MAX: u16 = 4094;

/// A set of VLAN identifiers, 1 to 4094, kept as ranges that neither overlap nor touch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct VlanSet(Vec<(u16, u16)>);

impl VlanSet {
    /// The set of the ranges `(first, last)`, in any order.
    pub(crate) fn of(mut ranges: Vec<(u16, u16)>) -> VlanSet {
        ranges.sort_unstable();
        let mut joined: Vec<(u16, u16)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match joined.last_mut() {
                Some(before) if first <= before.1 + 1 => before.1 = before.1.max(last),
                _ => joined.push((first, last)),
            }
        }
        VlanSet(joined)
    }

    /// True when no VLAN is in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Number of VLANs in it.
    pub fn len(&self) -> usize {
        self.0.iter().map(|(first, last)| usize::from(last - first) + 1).sum()
    }

    /// True when `vid` is in it.
    pub fn contains(&self, vid: u16) -> bool {
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&vid))
    }

    /// Its VLANs, rising.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        self.0.iter().flat_map(|(first, last)| *first..=*last)
    }

    /// The lowest VLAN that is not in `other`.
    pub(crate) fn outside(&self, other: &VlanSet) -> Option<u16> {
        self.iter().find(|vid| !other.contains(*vid))
    }
}

impl FromIterator<u16> for VlanSet {
    /// Values outside 1 to 4094 are left out.
    fn from_iter<I: IntoIterator<Item = u16>>(vids: I) -> VlanSet {
        let valid = vids.into_iter().filter(|vid| (VID_MIN..=VID_MAX).contains(vid));
        VlanSet::of(valid.map(|vid| (vid, vid)).collect())
    }
}

impl fmt::Display for VlanSet {
    /// As `1155, 1156-1158`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (first, last)) in self.0.iter().enumerate() {
            let comma = if i > 0 { ", " } else { "" };
            match first == last {
                true => write!(f, "{comma}{first}")?,
                false => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

impl Serialize for VlanSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for (first, last) in &self.0 {
            match first == last {
                true => list.serialize_element(first)?,
                false => list.serialize_element(&format!("{first}-{last}"))?,
            }
        }
        list.end()
    }
}

/// One VLAN.
pub(crate) fn vid(raw: Raw<'_>) -> Result<u16, String> {
    crate::value::integer(i64::from(VID_MIN)..=i64::from(VID_MAX))(raw)
}

/// One element of a set: a VLAN, or a range as `"1156-1158"`.
pub(crate) fn range(raw: Raw<'_>) -> Result<(u16, u16), String> {
    let Some((first, last)) = raw.text().and_then(|text| text.split_once('-')) else {
        if raw.text().is_some_and(|text| text.parse::<u16>().is_err()) {
            let shown = raw.describe();
            return Err(format!("expected a VLAN, found {shown}; write 1155, or a range as \"1156-1158\""));
        }
        return vid(raw).map(|vid| (vid, vid));
    };
    let shown = || quote(raw.text().unwrap_or_default());
    let (Ok(first), Ok(last)) = (first.trim().parse::<u16>(), last.trim().parse::<u16>()) else {
        return Err(format!("{} is not a range of VLANs; write it as \"1156-1158\"", shown()));
    };
    if first < VID_MIN || last > VID_MAX {
        return Err(format!("{} is out of range; choose {VID_MIN} to {VID_MAX}", shown()));
    }
    if first > last {
        return Err(format!("{} ends before it begins; write \"{last}-{first}\"", shown()));
    }
    Ok((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_touch_become_one() {
        let set = VlanSet::of(vec![(10, 12), (1, 4), (5, 5), (11, 20), (4094, 4094)]);
        assert_eq!(set.to_string(), "1-5, 10-20, 4094");
        assert_eq!((set.len(), set.iter().count()), (17, 17));
        assert!(set.contains(1) && set.contains(4094) && !set.contains(6) && !set.contains(9));
        assert_eq!(set.outside(&VlanSet::of(vec![(1, 19)])), Some(20));
        assert_eq!([7, 0, 8, 4095].into_iter().collect::<VlanSet>().to_string(), "7-8");
    }

    #[test]
    fn elements() {
        assert_eq!(range(Raw::Word("1155")), Ok((1155, 1155)));
        assert_eq!(range(Raw::Word("1156-1158")), Ok((1156, 1158)));
        for (bad, message) in [
            ("0", "0 is out of range; choose 1 to 4094"),
            ("4095", "4095 is out of range; choose 1 to 4094"),
            ("5-4", "\"5-4\" ends before it begins; write \"4-5\""),
            ("0-9", "\"0-9\" is out of range; choose 1 to 4094"),
            ("a-b", "\"a-b\" is not a range of VLANs; write it as \"1156-1158\""),
            ("all", "expected a VLAN, found \"all\"; write 1155, or a range as \"1156-1158\""),
        ] {
            assert_eq!(range(Raw::Word(bad)), Err(message.to_owned()));
        }
    }
}
