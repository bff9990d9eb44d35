//! The states as a table, in the form of RFC 9260's figure 3 seen from between the ends, and any sequence of packets compared
//! with it. Each end has one tag for ever, so that a row and what was told so far say everything.

use super::*;
use proptest::prelude::*;

const COLUMNS: [State; 8] = [
    Closed,
    CookieWait,
    CookieEchoed,
    Established,
    ShutdownSent,
    ShutdownRecd,
    ShutdownAckSent,
    HeartbeatSent,
];

/// What becomes of each column's state by a chunk with the right tag: `--` is not due, `RE` opens anew. Where directions
/// differ, the row says which.
const TABLE: &str = "
    init               RE CW CE ES SS SR SA CW
    init-ack           -- CW CE ES SS SR SA --
    cookie-echo        -- CE CE ES SS SR SA --
    cookie-ack         -- -- ES ES SS SR SA --
    shutdown>          CL -- CE SS SS SR SA --
    shutdown<          CL -- CE SR SS SR SA --
    shutdown-ack       CL CW CE -- SA SA SA --
    shutdown-complete  CL CW CE ES SS SR CL HS
    abort              CL CL CL CL CL CL CL CL
    heartbeat          CL -- CE ES SS SR SA HS
    heartbeat-ack>     CL -- CE ES SS SR SA HS
    heartbeat-ack<     CL -- CE ES SS SR SA ES
    data               CL -- CE ES SS SR SA HS
    error              CL CW CE ES SS SR SA HS
";

fn name(state: State) -> &'static str {
    let at = COLUMNS.iter().position(|column| *column == state).expect("a state of SCTP");
    ["CL", "CW", "CE", "ES", "SS", "SR", "SA", "HS"][at]
}

fn cell(row: &str, direction: Direction, state: State) -> &'static str {
    let sided = format!("{row}{}", if direction == C { '>' } else { '<' });
    let mut lines = TABLE.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let line = lines.find(|line| line.first().is_some_and(|first| *first == row || *first == sided));
    line.expect("a row")[1 + COLUMNS.iter().position(|column| *column == state).expect("a column")]
}

fn row(chunk: Chunk) -> &'static str {
    match chunk {
        Chunk::Init(_) => "init",
        Chunk::InitAck(_) => "init-ack",
        Chunk::CookieEcho => "cookie-echo",
        Chunk::CookieAck => "cookie-ack",
        Chunk::Shutdown => "shutdown",
        Chunk::ShutdownAck => "shutdown-ack",
        Chunk::ShutdownComplete(_) => "shutdown-complete",
        Chunk::Abort(_) => "abort",
        Chunk::Heartbeat => "heartbeat",
        Chunk::HeartbeatAck => "heartbeat-ack",
        Chunk::Other => "data",
        Chunk::Error => "error",
    }
}

fn is_handshake(chunk: Chunk) -> bool {
    matches!(chunk, Chunk::InitAck(_) | Chunk::CookieEcho | Chunk::CookieAck | Chunk::Abort(_))
}

/// What is known without looking at tags: which ones were told, and who has sent a cookie back.
struct Naive {
    state: State,
    told: [bool; 2],
    echoed: [bool; 2],
}

impl Naive {
    /// The state afterwards; `Err` with true when the packet opens anew.
    fn step(&mut self, direction: Direction, chunk: Chunk) -> Result<State, bool> {
        let (own, other) = (direction.index(), direction.other().index());
        let fresh = matches!(self.state, CookieWait | CookieEchoed);
        let either = fresh || self.state == Closed;
        let told = match chunk {
            Chunk::Init(_) => true,
            _ if is_reflected(chunk) => self.told[other],
            // Of the first packet that comes, where none was told; and of one of an older association.
            Chunk::ShutdownAck if fresh => true,
            _ if !is_handshake(chunk) && !either => true,
            _ => self.told[own],
        };
        let becomes = cell(row(chunk), direction, self.state);
        match becomes {
            "RE" => return Err(true),
            "--" => return Err(false),
            _ if !told => return Err(false),
            _ if chunk == Chunk::CookieEcho && fresh && !self.told[other] => return Err(false),
            _ if chunk == Chunk::CookieAck && self.state == CookieEchoed && !self.echoed[other] => {
                return Err(false);
            }
            _ => {}
        }
        match chunk {
            Chunk::Init(_) if self.state == HeartbeatSent => {
                self.told = [false; 2];
                self.told[other] = true;
            }
            Chunk::Init(_) | Chunk::InitAck(_) => self.told[other] = true,
            Chunk::CookieEcho => self.echoed[own] = true,
            _ => {}
        }
        if !is_reflected(chunk) && !matches!(chunk, Chunk::Init(_)) {
            self.told[own] = true;
        }
        self.state = *COLUMNS.iter().find(|column| name(**column) == becomes).expect("a state");
        Ok(self.state)
    }
}

fn chunk() -> impl Strategy<Value = (Direction, Chunk)> {
    (any::<bool>(), 0..14_u8).prop_map(|(client, kind)| {
        let direction = if client { C } else { S };
        let own = tag_of(direction.other());
        let chunk = match kind {
            0 => Chunk::Init(own),
            1 => Chunk::InitAck(own),
            2 => Chunk::CookieEcho,
            3 => Chunk::CookieAck,
            4 => Chunk::Shutdown,
            5 => Chunk::ShutdownAck,
            6 | 7 => Chunk::ShutdownComplete(kind == 7),
            8 | 9 => Chunk::Abort(kind == 9),
            10 => Chunk::Heartbeat,
            11 => Chunk::HeartbeatAck,
            12 => Chunk::Error,
            _ => Chunk::Other,
        };
        (direction, chunk)
    })
}

/// The packet with the tag that is due, or a wrong one.
fn of(direction: Direction, chunk: Chunk, right: bool) -> Packet {
    let tag = match chunk {
        Chunk::Init(_) => 0,
        _ if !right => WRONG,
        _ => tag_of(if is_reflected(chunk) { direction.other() } else { direction }),
    };
    packet(tag, &[chunk])
}

proptest! {
    #[test]
    fn any_sequence_of_chunks_ends_where_the_table_says(
        from_heartbeat: bool, handshake: bool, packets in prop::collection::vec(chunk(), 1..40),
    ) {
        let first = if from_heartbeat { packet(SERVERS, &[Chunk::Heartbeat]) } else { init(CLIENTS) };
        let mut known = known(&first);
        let told = if from_heartbeat { [true, false] } else { [false, true] };
        let mut naive = Naive { state: known.state, told, echoed: [false; 2] };
        let opening = [(S, Chunk::InitAck(SERVERS)), (C, Chunk::CookieEcho), (S, Chunk::CookieAck)];
        let opening = opening.into_iter().filter(|_| handshake && !from_heartbeat);
        for (direction, chunk) in opening.chain(packets) {
            let before = naive.state;
            let step = known.step(direction, &of(direction, chunk, true));
            match (naive.step(direction, chunk), step) {
                (Ok(state), Step::To(next)) if state == next.state => known = next,
                (Err(true), Step::Reopens) => break,
                (Err(false), Step::Invalid(_)) => {}
                (naive, step) => {
                    prop_assert!(false, "{:?} {:?} in {:?}: {:?}, {:?}", direction, chunk, before, naive, step);
                }
            }
            let half_open = matches!(naive.state, CookieWait | CookieEchoed | HeartbeatSent);
            prop_assert_eq!(known.marks.has(Marks::HALF_OPEN), half_open);
        }
    }

    #[test]
    fn a_packet_with_a_wrong_tag_never_belongs(
        packets in prop::collection::vec((chunk(), any::<bool>()), 1..40),
    ) {
        let mut known = known(&init(CLIENTS));
        for ((direction, chunk), right) in packets {
            // From an end of an older association, any tag may be right.
            let fresh = matches!(known.state, CookieWait | CookieEchoed);
            let untagged = matches!(chunk, Chunk::Init(_)) || chunk == Chunk::ShutdownAck && fresh;
            // So it may where none was told, once there is no handshake to tell it.
            let unknown = known.tags[direction.index()] == Tags::default() && !is_handshake(chunk)
                && !matches!(known.state, CookieWait | CookieEchoed | Closed);
            match known.step(direction, &of(direction, chunk, right)) {
                Step::To(next) if right || untagged => known = next,
                Step::To(_) if unknown && !is_reflected(chunk) => break,
                Step::To(_) => prop_assert!(false, "{:?} {:?} with a wrong tag in {:?}", direction, chunk, known),
                Step::Reopens => break,
                Step::Invalid(_) => {}
            }
            // That one's tag is remembered; then it is no wrong one any more.
            if known.tags.iter().any(|tags| tags.has(WRONG)) {
                break;
            }
        }
    }
}
