//! Bonds against simulated partners, in simulated time: one of the same code behind wires that lose frames, and one of ten lines.

use proptest::prelude::*;

use super::member::{AGGREGATE_WAIT, SHORT_TIMEOUT, Selected};
use super::{Aggregate, Hears, Members, Mux, Settings, Time};
use crate::wire::ethernet::Mac;
use crate::wire::lacp::{Pdu, Side, State};

const US: Mac = Mac(0x0a00_0000_0002);
const THEM: Mac = Mac(0x0b00_0000_0002);
const STEP: Time = Time::from_millis(50);

fn settings(system: Mac, fast: bool) -> Settings {
    Settings { system, system_priority: 0x8000, key: 7, fast, min_links: 1 }
}

fn seconds(n: u64) -> Time {
    Time::from_secs(n)
}

/// Two bonds and the wires between them.
struct Cable {
    now: Time,
    ends: [Aggregate; 2],
    links: usize,
    /// What each end last heard over each link, and when.
    heard: [Vec<Option<(Time, Pdu)>>; 2],
    sent: [u64; 2],
}

impl Cable {
    fn new(links: usize, fast: [bool; 2]) -> Self {
        let [a, b] = fast;
        let ends = [Aggregate::new(settings(US, a), links), Aggregate::new(settings(THEM, b), links)];
        let mut cable = Self {
            now: Time::ZERO,
            ends,
            links,
            heard: [vec![None; links], vec![None; links]],
            sent: [0; 2],
        };
        for link in 0..links {
            cable.link(link, true);
        }
        cable
    }

    fn link(&mut self, link: usize, up: bool) {
        for (end, heard) in self.ends.iter_mut().zip(&mut self.heard) {
            end.link(link, up, self.now);
            if !up {
                heard[link] = None;
            }
        }
    }

    /// One step of time; `passes(end, link)` says whether what that end sends arrives.
    fn step(&mut self, passes: &mut dyn FnMut(usize, usize) -> bool) {
        self.now += STEP;
        self.ends.iter_mut().for_each(|end| end.advance(self.now));
        for from in 0..2 {
            for (link, pdu) in self.ends[from].speak(self.now) {
                self.sent[from] += 1;
                if passes(from, link) {
                    self.heard[1 - from][link] = Some((self.now, pdu));
                    self.ends[1 - from].hear(link, &pdu, self.now);
                }
            }
            self.check();
        }
    }

    fn run(&mut self, time: Time, passes: &mut dyn FnMut(usize, usize) -> bool) {
        let end = self.now + time;
        while self.now < end {
            self.step(passes);
        }
    }

    fn all(&self) -> Members {
        Members::which(self.links, |_| true)
    }

    /// Nobody sends over a link unless he was told, and not too long ago, that the other side takes what comes.
    fn check(&self) {
        for (end, heard) in self.ends.iter().zip(&self.heard) {
            assert_eq!(end.distributing().0 & !end.collecting().0, 0, "who sends also takes");
            for link in end.distributing().iter() {
                let (when, pdu) = heard[link].expect("he was heard");
                let takes = State::SYNCHRONIZATION.with(State::COLLECTING, true);
                assert!(pdu.actor.state.has(takes), "link {link}: {pdu:?}");
                let we = end.members()[link].actor();
                assert_eq!((pdu.partner.system, pdu.partner.port), (we.system, we.port), "he means us");
                let believed = if we.state.has(State::TIMEOUT) { SHORT_TIMEOUT } else { seconds(90) };
                assert!(self.now <= when + believed, "link {link} is believed for too long");
            }
        }
    }
}

#[test]
fn two_links_come_up_together_and_carry_traffic() {
    let mut cable = Cable::new(2, [true, false]);
    cable.run(AGGREGATE_WAIT - STEP, &mut |_, _| true);
    assert!(cable.ends.iter().all(|end| end.distributing().is_empty()), "they wait for each other");
    cable.run(seconds(2), &mut |_, _| true);
    for end in &cable.ends {
        assert_eq!((end.distributing(), end.collecting()), (cable.all(), cable.all()));
    }
    // The one that wants to hear every second does, the other every thirty.
    let before = cable.sent;
    cable.run(seconds(60), &mut |_, _| true);
    let [ours, theirs] = [cable.sent[0] - before[0], cable.sent[1] - before[1]];
    assert!((3..=6).contains(&ours) && (118..=122).contains(&theirs), "{ours} {theirs}");
}

#[test]
fn a_link_that_goes_silent_is_out_within_three_seconds_and_comes_back() {
    let mut cable = Cable::new(2, [true, true]);
    cable.run(seconds(6), &mut |_, _| true);
    let lost = cable.now;
    while cable.ends.iter().any(|end| end.distributing() == cable.all()) {
        cable.step(&mut |_, link| link == 0);
    }
    assert!(cable.now - lost <= SHORT_TIMEOUT, "{:?}", cable.now - lost);
    assert!(cable.ends.iter().all(|end| end.distributing() == Members(1)));
    cable.run(seconds(20), &mut |_, link| link == 0);
    assert!(matches!(cable.ends[0].members()[1].hears(), Hears::Defaulted));
    assert!(cable.ends.iter().all(|end| end.distributing() == Members(1)), "the other goes on");
    cable.run(seconds(6), &mut |_, _| true);
    assert!(cable.ends.iter().all(|end| end.distributing() == cable.all()));
}

#[test]
fn a_link_that_goes_down_is_out_at_once() {
    let mut cable = Cable::new(3, [false, false]);
    cable.run(seconds(6), &mut |_, _| true);
    cable.link(1, false);
    assert!(cable.ends.iter().all(|end| end.distributing() == Members(0b101)));
    cable.link(1, true);
    cable.run(seconds(6), &mut |_, _| true);
    assert!(cable.ends.iter().all(|end| end.distributing() == cable.all()));
}

#[test]
fn one_that_hears_and_is_not_heard_stops_sending() {
    let mut cable = Cable::new(2, [true, true]);
    cable.run(seconds(6), &mut |_, _| true);
    // Link 1 loses what end 0 sends: end 1 gives it up, and tells end 0, who hears it.
    cable.run(SHORT_TIMEOUT + seconds(1), &mut |from, link| link == 0 || from == 1);
    assert!(cable.ends.iter().all(|end| end.distributing() == Members(1)));
}

#[test]
fn slow_partners_survive_a_minute_of_silence_and_fast_ones_do_not() {
    for (fast, survives) in [(false, true), (true, false)] {
        let mut cable = Cable::new(2, [fast, fast]);
        cable.run(seconds(40), &mut |_, _| true);
        cable.run(seconds(50), &mut |_, _| false);
        assert_eq!(cable.ends[0].distributing() == cable.all(), survives, "fast: {fast}");
    }
}

/// A partner of ten lines: says what it is told to, and repeats what it hears.
fn says(to: &Aggregate, link: usize, system: Mac, key: u16, state: u8) -> Pdu {
    let actor = Side {
        system_priority: 1,
        system,
        key,
        port_priority: 9,
        port: 10 + link as u16,
        state: State(state),
    };
    Pdu { actor, partner: to.members()[link].actor() }
}

/// Active, aggregatable, in synchronization, collecting, distributing.
const READY: u8 = 0b0011_1101;

#[test]
fn links_to_two_partners_are_one_aggregate_and_one_that_stands_by() {
    let mut bond = Aggregate::new(settings(US, false), 3);
    (0..3).for_each(|link| bond.link(link, true, Time::ZERO));
    let mut now = Time::ZERO;
    let mut talk = |bond: &mut Aggregate, systems: [Mac; 3], time: Time| {
        let end = now + time;
        while now < end {
            now += STEP;
            for (link, system) in systems.into_iter().enumerate() {
                let pdu = says(bond, link, system, 1, READY);
                bond.hear(link, &pdu, now);
            }
        }
    };
    let (one, two) = (Mac(0x10_02), Mac(0x20_02));
    talk(&mut bond, [one, two, two], seconds(3));
    // The first that was heard is kept, though the other has more links.
    assert_eq!(bond.distributing(), Members(0b001));
    assert_eq!(bond.members()[1].selected(), Selected::Standby);
    assert!(!bond.members()[1].actor().state.has(State::SYNCHRONIZATION), "he must not send to us either");
    // It is plugged elsewhere.
    talk(&mut bond, [two; 3], seconds(3));
    assert_eq!(bond.distributing(), Members(0b111));
    bond.link(0, false, seconds(7));
    bond.link(1, false, seconds(7));
    assert_eq!(bond.distributing(), Members(0b100));
    bond.link(2, false, seconds(7));
    assert!(bond.distributing().is_empty() && bond.collecting().is_empty());
}

#[test]
fn keys_and_individual_links_are_kept_apart() {
    let mut bond = Aggregate::new(settings(US, false), 2);
    (0..2).for_each(|link| bond.link(link, true, Time::ZERO));
    for step in 0..100 {
        let now = STEP * step;
        for (link, key, state) in [(0, 1, READY), (1, 2, READY)] {
            let pdu = says(&bond, link, THEM, key, state);
            bond.hear(link, &pdu, now);
        }
    }
    assert_eq!(bond.distributing(), Members(1), "another key is another aggregate");
    for step in 100..200 {
        for link in 0..2 {
            let pdu = says(&bond, link, THEM, 1, READY & !State::AGGREGATION.0);
            bond.hear(link, &pdu, STEP * step);
        }
    }
    assert_eq!(bond.distributing().len(), 1, "links that cannot be aggregated are not");
}

#[test]
fn a_partner_that_does_not_collect_or_means_another_gets_nothing() {
    let cases = [
        ("not in synchronization", READY & !State::SYNCHRONIZATION.0, false),
        ("not collecting", READY & !State::COLLECTING.0, false),
        ("another port of ours", READY, true),
    ];
    for (what, state, elsewhere) in cases {
        let mut bond = Aggregate::new(settings(US, false), 1);
        bond.link(0, true, Time::ZERO);
        for step in 0..200 {
            let mut pdu = says(&bond, 0, THEM, 1, state);
            pdu.partner.port += u16::from(elsewhere);
            bond.hear(0, &pdu, STEP * step);
        }
        assert!(bond.distributing().is_empty(), "{what}");
        assert_eq!(bond.members()[0].mux() == Mux::Collecting, what == "not collecting", "{what}");
    }
}

#[test]
fn too_few_links_carry_nothing() {
    let mut cable = Cable::new(2, [true, true]);
    cable.ends[0] = Aggregate::new(Settings { min_links: 2, ..settings(US, true) }, 2);
    (0..2).for_each(|link| cable.link(link, true));
    cable.run(seconds(6), &mut |_, _| true);
    assert_eq!(cable.ends[0].distributing(), cable.all());
    cable.link(0, false);
    assert!(cable.ends[0].distributing().is_empty());
}

#[test]
fn our_own_voice_is_nobody() {
    let mut bond = Aggregate::new(settings(US, true), 2);
    (0..2).for_each(|link| bond.link(link, true, Time::ZERO));
    for step in 0..200 {
        let now = STEP * step;
        bond.advance(now);
        for (link, pdu) in bond.speak(now) {
            // The two links are one cable.
            bond.hear(1 - link, &pdu, now);
        }
    }
    assert!(bond.looped > 5 && bond.distributing().is_empty() && bond.collecting().is_empty());
}

#[test]
fn no_more_than_three_lacpdus_a_second_whatever_is_heard() {
    let mut bond = Aggregate::new(settings(US, true), 1);
    bond.link(0, true, Time::ZERO);
    let (mut sent, mut tries): (Vec<Time>, u32) = (Vec::new(), 0);
    for step in 0..2_000 {
        let now = Time::from_millis(10) * step;
        // He contradicts every time, which wants an answer.
        let mut pdu = says(&bond, 0, Mac(u64::from(step) << 16 | 2), 1, READY);
        pdu.partner.port = step as u16;
        bond.hear(0, &pdu, now);
        sent.extend(bond.speak(now).iter().map(|_| now));
        // Every seventh cannot be sent.
        if sent.last() == Some(&now) {
            tries += 1;
            if tries % 7 == 0 {
                bond.unsaid(0);
                sent.pop();
            }
        }
    }
    assert!(sent.windows(4).all(|four| four[3] - four[0] >= seconds(1)), "{sent:?}");
    assert!(sent.len() > 50, "{}", sent.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is lost for however long, and whichever links go and come: nobody sends where nobody takes (`check` after every step),
    /// and when the wires are good again all links carry traffic.
    #[test]
    fn bonds_converge_whatever_was_lost(
        links in 1_usize..=4,
        fast: [bool; 2],
        weather in proptest::collection::vec((0_u8..=100, 0_u8..8, 1_u64..20), 0..8),
        seed: u64,
    ) {
        let mut cable = Cable::new(links, fast);
        let mut state = seed | 1;
        let mut chance = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8 % 100
        };
        for (loss, link, time) in weather {
            let link = usize::from(link);
            if link < links {
                let up = chance() < 50;
                cable.link(link, up);
            }
            cable.run(seconds(time), &mut |_, _| chance() >= loss);
        }
        for link in 0..links {
            cable.link(link, true);
        }
        // A slow partner who has lost one LACPDU waits for the next; then they agree.
        cable.run(seconds(70), &mut |_, _| true);
        for end in &cable.ends {
            prop_assert_eq!(end.distributing(), cable.all());
            prop_assert_eq!(end.collecting(), cable.all());
        }
    }
}
