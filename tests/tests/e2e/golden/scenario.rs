//! The recorded conversations and the differences from them.

use serde::Deserialize;
use serde::de::IgnoredAny;

const CONVERSATIONS: &str = include_str!("../../../data/golden/conversations.jsonl");
const DIFFERENCES: &str = include_str!("../../../data/golden/differences.jsonl");

/// A conversation, with our own steps where we differ.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Scenario {
    pub(super) name: String,
    pub(super) transport: String,
    #[serde(default)]
    server_flags: Vec<String>,
    servers: Option<Vec<ServerFlags>>,
    pub(super) steps: Vec<Step>,
}

/// A server of a conversation.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct ServerFlags {
    pub(super) name: String,
    pub(super) server_flags: Vec<String>,
    pub(super) database: String,
}

/// What one side does.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Step {
    pub(super) connection: String,
    #[serde(flatten)]
    pub(super) action: Action,
    #[serde(default)]
    pub(super) malformed: bool,
    #[serde(default)]
    pub(super) chunked: bool,
    /// Its place in the recording.
    #[serde(skip)]
    pub(super) number: usize,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Action {
    Open(String),
    Send(String),
    SendRepeat { prefix: String, repeat: String, count: usize, suffix: String },
    SendHex(String),
    Expect(String),
    ExpectClose(IgnoredAny),
    Close(IgnoredAny),
}

/// Steps of ours in the place of a recorded one.
#[derive(Debug, Deserialize)]
struct Difference {
    scenario: String,
    step: usize,
    instead: Vec<Step>,
    why: String,
}

impl Scenario {
    /// The servers in the order of their start.
    pub(super) fn servers(&self) -> Vec<ServerFlags> {
        self.servers.clone().unwrap_or_else(|| {
            vec![ServerFlags {
                name: "main".to_owned(),
                server_flags: self.server_flags.clone(),
                database: "main".to_owned(),
            }]
        })
    }

    fn differ(&mut self, difference: Difference) {
        assert!(!difference.why.is_empty(), "a difference without a reason in {}", self.name);
        let place = self.steps.iter().position(|step| step.number == difference.step);
        let place = place.unwrap_or_else(|| panic!("{} has no step {}", self.name, difference.step));
        let ours = difference.instead.into_iter().map(|step| Step { number: difference.step, ..step });
        self.steps.splice(place..=place, ours);
    }
}

/// Every conversation, with our differences.
pub(super) fn scenarios() -> Vec<Scenario> {
    let lines = CONVERSATIONS.lines().skip(1);
    let mut scenarios: Vec<Scenario> =
        lines.map(|line| serde_json::from_str(line).expect("a scenario")).collect();
    for scenario in &mut scenarios {
        for (number, step) in scenario.steps.iter_mut().enumerate() {
            step.number = number;
        }
    }
    for line in DIFFERENCES.lines() {
        let difference: Difference =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let scenario = scenarios.iter_mut().find(|scenario| scenario.name == difference.scenario);
        scenario.unwrap_or_else(|| panic!("there is no scenario {}", difference.scenario)).differ(difference);
    }
    scenarios
}
