//! Ours and the peers in turn: A B C, C B A, A B C, so that what changes slowly on the machine meets all alike.

use anyhow::Result;

use crate::figure::{Figure, Sample, Series};
use crate::plan::Plan;
use crate::stop;

/// Who is held against ours.
pub struct Rival<'a> {
    /// Name in the table.
    pub name: &'static str,
    /// One run.
    pub run: &'a dyn Fn() -> Result<Sample>,
}

/// Everybody beside ours.
#[derive(Default)]
pub struct Field<'a> {
    /// Ours with another setting.
    pub variant: Option<Rival<'a>>,
    /// What users run today.
    pub peer: Option<Rival<'a>>,
    /// The devices with nothing in between.
    pub floor: Option<Rival<'a>>,
}

/// [`hold_all`] against a peer and a floor.
///
/// # Errors
/// As [`hold_all`].
pub fn hold(
    plan: &Plan,
    figure: &mut Figure,
    ours: &dyn Fn() -> Result<Sample>,
    peer: Option<Rival<'_>>,
    floor: Option<Rival<'_>>,
) -> Result<()> {
    hold_all(plan, figure, ours, &Field { variant: None, peer, floor })
}

/// Runs all `plan.runs` times and puts the values into `figure`. A rival that fails once is missing from then on, with the
/// reason; ours must not fail.
///
/// # Errors
/// Ours failed, or a signal came.
pub fn hold_all(
    plan: &Plan,
    figure: &mut Figure,
    ours: &dyn Fn() -> Result<Sample>,
    field: &Field<'_>,
) -> Result<()> {
    let series = |rival: &Option<Rival<'_>>| rival.as_ref().map(|rival| Series::new(rival.name));
    figure.variant = series(&field.variant);
    figure.peer = series(&field.peer);
    figure.floor = series(&field.floor);
    for run in 0..plan.runs {
        let mut order = [0, 1, 2, 3];
        if run % 2 == 1 {
            order.reverse();
        }
        for turn in order {
            stop::check()?;
            match turn {
                0 => figure.ours.push(ours()?),
                1 => compete(figure.variant.as_mut(), field.variant.as_ref())?,
                2 => compete(figure.peer.as_mut(), field.peer.as_ref())?,
                _ => compete(figure.floor.as_mut(), field.floor.as_ref())?,
            }
        }
    }
    Ok(())
}

fn compete(series: Option<&mut Series>, rival: Option<&Rival<'_>>) -> Result<()> {
    let (Some(series), Some(rival)) = (series, rival) else { return Ok(()) };
    if series.missing.is_some() {
        return Ok(());
    }
    match (rival.run)() {
        Ok(sample) => series.push(sample),
        Err(error) if error.is::<stop::Interrupted>() => return Err(error),
        Err(error) => {
            let reason = format!("{error:#}");
            eprintln!("bench: {} is missing: {reason}", rival.name);
            series.missing = Some(reason);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::time::Duration;

    use anyhow::bail;

    use super::*;
    use crate::figure::Bar;

    #[test]
    fn turns_are_mirrored_and_a_rival_that_fails_is_named_and_left_out() {
        let order = RefCell::new(String::new());
        let note = |who| order.borrow_mut().push(who);
        let ours = || {
            Ok({
                note('a');
                Sample::from(2.0)
            })
        };
        let peer = || {
            Ok({
                note('b');
                Sample::from(1.0)
            })
        };
        let floor = || {
            note('c');
            bail!("it is not installed")
        };
        let plan = Plan::new(3, 1, Duration::ZERO).unwrap();
        let mut figure = Figure::new("row", "what", "x", Bar::Ratio(1.0));
        let (peer, floor) = (Rival { name: "b", run: &peer }, Rival { name: "c", run: &floor });
        hold(&plan, &mut figure, &ours, Some(peer), Some(floor)).unwrap();
        assert_eq!(*order.borrow(), "abcbaab");
        assert_eq!((figure.met(), figure.ours.values.len()), (Some(true), 3));
        assert_eq!(figure.floor.unwrap().missing.as_deref(), Some("it is not installed"));
    }
}
